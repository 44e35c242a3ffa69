"""Image sequences: numbered files are one clip, at the manifest's rate, with no frame missing."""

from __future__ import annotations

import hashlib
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from pipeline.media.decoder import Decoder
from pipeline.sources.fetch import fetched, members, source_token
from pipeline.sources.sequence import gaps, is_sequence, numbers, runs
from schemas.errors import ClipFault
from schemas.reasons import Reason
from schemas.recipe import Limits, Recipe
from tests.support.media.media_factory import draw_planes, to_frame
from tests.support.studio import Studio

WIDTH, HEIGHT, FIRST, FRAMES = 64, 48, 86400, 6


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Studio:
    return Studio(tmp_path_factory.mktemp("studio"), Recipe(strength=0.0))


def write_sequence(folder: Path, suffix: str, planar: str, coded: str) -> tuple[Path, Any]:
    """A scan of FRAMES pictures from number FIRST on; returns its pattern and the planes."""
    folder.mkdir(exist_ok=True)
    pattern = folder / f"reel_%07d.{suffix}"
    drawn = [draw_planes(i, planar, WIDTH, HEIGHT) for i in range(FRAMES)]
    options = {"start_number": str(FIRST)}
    with av.open(str(pattern), "w", format="image2", options=options) as container:
        codec = {"tif": "tiff"}.get(suffix, suffix)
        stream: Any = container.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, coded
        for index, planes in enumerate(drawn):
            frame = to_frame(planes, planar)
            frame = frame if coded == planar else frame.reformat(format=coded)
            frame.pts = index
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return pattern, drawn


@pytest.mark.parametrize(
    ("suffix", "planar", "coded"),
    [
        ("dpx", "gbrp10le", "gbrp10le"),
        ("dpx", "gbrp12le", "gbrp12be"),
        ("dpx", "gbrp", "rgb24"),
        ("tif", "gbrp16le", "rgb48le"),
        ("tiff", "gray16le", "gray16le"),
        ("png", "gbrp16le", "rgb48be"),
        ("png", "gray", "gray"),
    ],
)
def test_a_scan_becomes_a_clip_of_its_own_samples(
    suffix: str, planar: str, coded: str, studio: Studio, tmp_path: Path
) -> None:
    pattern, drawn = write_sequence(tmp_path / f"{suffix}-{coded}", suffix, planar, coded)
    restored = studio.publish(pattern, expected_fps="18")
    assert (restored.row["fps_num"], restored.row["fps_den"]) == (18, 1)
    codec = "tiff" if suffix == "tif" else suffix
    assert (restored.row["codec"], restored.row["pix_fmt"]) == (codec, planar)
    with Decoder(restored.path, Limits()) as decoder:
        frames = list(decoder)
    assert [f.pts * decoder.probe.time_base for f in frames] == [
        Fraction(round(Fraction(1000 * i, 18)), 1000) for i in range(FRAMES)
    ]
    for frame, planes in zip(frames, drawn, strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(frame.planes, planes, strict=True))


@pytest.fixture(scope="module")
def scan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_sequence(tmp_path_factory.mktemp("scan"), "png", "gray", "gray")[0]


def test_a_missing_frame_is_named(scan: Path, studio: Studio, tmp_path: Path) -> None:
    folder = tmp_path / "holes"
    folder.mkdir()
    for number in (100, 101, 102, 106, 107, 109):
        (folder / f"a_{number:04}.png").write_bytes(b"")
    with pytest.raises(ClipFault) as fault:
        studio.survey(folder / "a_%04d.png", expected_fps="24")
    assert fault.value.reason is Reason.FRAME_COUNT
    assert "of the frames 100 to 109, 103 to 105, 108 are missing" in fault.value.sentence


def test_allowed_gaps_part_a_clip(studio: Studio, tmp_path: Path) -> None:
    pattern, drawn = write_sequence(tmp_path / "scan", "dpx", "gbrp10le", "gbrp10le")
    lost = {1, 4}
    for index in lost:
        Path(members(str(pattern))[0].replace(str(FIRST), str(FIRST + index))).unlink()
    with pytest.raises(ClipFault, match=f"{FIRST + 1}, {FIRST + 4} are missing"):
        studio.survey(pattern, expected_fps="24")
    restored = studio.publish(pattern, expected_fps="24", gaps="allowed")
    survey, left = restored.survey, [i for i in range(FRAMES) if i not in lost]
    assert survey.pts == left  # time goes on where frames are missing
    assert [(shot.start, shot.stop) for shot in survey.shots] == [(0, 1), (1, 3), (3, 4)]
    assert (restored.row["gaps"], restored.row["frames"]) == (f"{FIRST + 1}, {FIRST + 4}", 4)
    assert restored.row["duration_seconds"] == 6 / 24
    with Decoder(restored.path, Limits()) as decoder:
        frames = list(decoder)
    assert [f.pts * decoder.probe.time_base for f in frames] == [
        Fraction(round(Fraction(1000 * i, 24)), 1000) for i in left
    ]
    for frame, index in zip(frames, left, strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(frame.planes, drawn[index], strict=True))
    assert f"gaps={FIRST + 1}, {FIRST + 4}" in Path(f"{restored.path}.premis.xml").read_text()
    with pytest.raises(ClipFault, match="files are missing"):
        studio.survey(pattern, expected_fps="24", gaps="allowed", interlace="ivtc")
    with Decoder(pattern, Limits(), start_pts=3, start_index=2) as decoder:
        assert [(frame.index, frame.pts) for frame in decoder] == [(2, 3), (3, 5)]


def test_a_sequence_without_files_or_rate_is_refused(
    scan: Path, studio: Studio, tmp_path: Path
) -> None:
    with pytest.raises(ClipFault) as fault:
        studio.survey(tmp_path / "b_%04d.png", expected_fps="24")
    assert fault.value.reason is Reason.NOT_FOUND
    with pytest.raises(ClipFault, match="expected_fps") as fault:
        studio.survey(scan)
    assert fault.value.reason is Reason.MANIFEST_INVALID


def test_a_sequence_has_the_checksum_of_its_files_in_order(scan: Path, studio: Studio) -> None:
    content = b"".join(Path(name).read_bytes() for name in sorted(members(str(scan))))
    survey = studio.survey(scan, expected_fps="24", checksum=hashlib.md5(content).hexdigest(),
                           checksum_algo="md5")  # fmt: skip
    assert survey.source_sha256 == hashlib.sha256(content).hexdigest()
    with pytest.raises(ClipFault) as fault:
        studio.survey(scan, expected_fps="24", checksum="0" * 64)
    assert fault.value.reason is Reason.FIXITY_MISMATCH


def test_a_changed_file_changes_the_mark_of_its_sequence(tmp_path: Path) -> None:
    pattern, _ = write_sequence(tmp_path / "scan", "png", "gray", "gray")
    before = source_token(str(pattern))
    assert source_token(str(pattern)) == before
    with Path(members(str(pattern))[3]).open("ab") as stream:
        stream.write(b"x")
    assert source_token(str(pattern)) != before


@pytest.mark.parametrize("broken", ["size", "content"])
def test_a_file_unlike_the_others_is_a_fault(broken: str, studio: Studio, tmp_path: Path) -> None:
    pattern, _ = write_sequence(tmp_path / "scan", "png", "gray", "gray")
    fourth = Path(members(str(pattern))[3])
    if broken == "size":
        other = av.VideoFrame.from_ndarray(np.zeros((20, 20), np.uint8), "gray")
        other.save(fourth)
    else:
        fourth.write_bytes(fourth.read_bytes()[:100])
    with pytest.raises(ClipFault) as fault:
        studio.survey(pattern, expected_fps="24")
    assert fault.value.reason in (Reason.DECODE_ERROR, Reason.TRUNCATED, Reason.FRAME_COUNT)


def test_gaps_are_named_by_their_ends() -> None:
    assert runs([3, 4, 5, 9, 11, 12]) == [range(3, 6), range(9, 10), range(11, 13)]
    assert gaps([3, 4, 5, 9, 11, 12]) == ["6 to 8", "10"]
    assert (runs([]), gaps([]), gaps([7])) == ([], [], [])


def test_only_the_names_of_the_pattern_count() -> None:
    names = ["/s/a_0001.dpx", "/s/a_12345.dpx", "/s/a_002.dpx", "/s/b_0003.dpx", "/s/a_0004.tif",
             "/s/x/a_0005.dpx", "/s/a_00006.dpx"]  # fmt: skip
    assert numbers("/s/a_%04d.dpx", names) == [1, 12345]
    assert is_sequence("s3://films/a_%06d.DPX")
    assert not any(map(is_sequence, ["a.dpx", "a_%06d.mkv", "a_%d.dpx", "a_%06d_%02d.png"]))


def test_a_file_is_fetched_as_it_is(scan: Path, tmp_path: Path) -> None:
    one = Path(members(str(scan))[0])
    with fetched(str(one), tmp_path) as file, fetched(str(scan), tmp_path) as pattern:
        assert (file, pattern) == (one, scan)
