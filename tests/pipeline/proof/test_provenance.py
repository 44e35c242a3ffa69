"""What a restored file says about itself: true, repeatable, and beside what its source says."""

import hashlib
import json
import subprocess
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import av
import pytest

from pipeline.clip.changes import CAPTURED, ENHANCED, GENERATED, Changes, digital_source_type
from pipeline.media.tags import beside
from pipeline.proof.record import sealed, unsealed
from pipeline.runs.row import BESIDE_COLUMNS, result_from_record
from pipeline.runs.tables import to_table
from schemas.recipe import Recipe
from tests.support.media.media_factory import Clip, write_clip
from tests.support.paths import ROOT
from tests.support.published import WEIGHTS, publish, settings_for
from tests.support.results import a_segment

OURS = "RESTORATION"


def tags_of(path: Path) -> dict[str, str]:
    """Tags of a file, but for the muxer's own name."""
    with av.open(str(path)) as container:
        return {k: v for k, v in container.metadata.items() if k.upper() != "ENCODER"}


def restored(folder: Path, clip: str = "reel") -> Path:
    return folder / "out" / "clips" / clip / f"{clip}_rst.mkv"


def test_the_file_says_what_was_done_by_what_and_to_what(tmp_path: Path) -> None:
    source = tmp_path / "reel.mkv"
    write_clip(source, Clip(frames=4, tags={"title": "Film", "ARCHIVE": "No. 7"}))
    row = publish(tmp_path, source, settings_for(tmp_path), changed=3)
    with av.open(str(source)) as container:
        encoder = container.metadata["ENCODER"]
    tags = tags_of(restored(tmp_path))
    assert tags == {
        "title": "Film",
        "ARCHIVE": "No. 7",
        "SOURCE_ENCODER": encoder,
        "RESTORATION": "AI-assisted restoration; not the original",
        "RESTORATION_TOOL": "archive-restore 0.1.0",
        "RESTORATION_MODEL": f"{Recipe().model} sha256:{WEIGHTS}",
        "RESTORATION_RECIPE": f"film sha256:{Recipe().digest}",
        "RESTORATION_SOURCE": f"sha256:{hashlib.sha256(source.read_bytes()).hexdigest()}",
        "RESTORATION_CHANGED": "3 of 4 frames; 1.00 % of pixels marked as defects",
        "RESTORATION_DIGITAL_SOURCE_TYPE": ENHANCED,
    }
    assert (row["frames_changed"], row["digital_source_type"]) == (3, ENHANCED)
    record = json.loads(Path(f"{restored(tmp_path)}.json").read_bytes())
    assert record["tags"] == {key: value for key, value in tags.items() if key.startswith(OURS)}


def test_a_file_says_that_its_second_picture_is_not_restored(tmp_path: Path) -> None:
    """The second one may be the larger. It stays as it is."""
    source, parts = tmp_path / "reel.mkv", [tmp_path / "small.mkv", tmp_path / "large.mkv"]
    for path, clip in zip(
        parts, (Clip(frames=4), Clip(frames=4, width=256, height=192)), strict=True
    ):
        write_clip(path, clip)
    with ExitStack() as opened:
        joined = opened.enter_context(av.open(str(source), "w"))
        pictures = [opened.enter_context(av.open(str(path))).streams.video[0] for path in parts]
        streams = [joined.add_stream_from_template(picture) for picture in pictures]
        for picture, stream in zip(pictures, streams, strict=True):
            for packet in picture.container.demux(picture):
                if packet.size:
                    packet.stream = stream
                    joined.mux(packet)
    publish(tmp_path, source, settings_for(tmp_path), changed=4)
    told = "only the first picture is restored; streams 1 are the source's"
    assert tags_of(restored(tmp_path))["RESTORATION_UNRESTORED"] == told


def test_equal_work_makes_equal_files_whenever_and_in_whatever_run(tmp_path: Path) -> None:
    source = tmp_path / "reel.mkv"
    write_clip(source, Clip(frames=4))
    runs, files = set(), []
    for name in ("one", "two"):
        settings = settings_for(tmp_path, out=str(tmp_path / name))
        row = publish(tmp_path, source, settings)
        runs.add(row["run"])
        files.append((tmp_path / name / "clips" / "reel" / "reel_rst.mkv").read_bytes())
    assert len(runs) == 2 and files[0] == files[1]


def test_a_second_restoration_does_not_hide_the_first(tmp_path: Path) -> None:
    """Also where the source's names differ from ours in case and spaces alone."""
    source = tmp_path / "reel.mkv"
    first = {"Restoration_Tool": "by hand, 1998", "RESTORATION": "wet gate", "title": "Film"}
    first["SOURCE_ENCODER"] = "a scanner"
    write_clip(source, Clip(frames=3, tags=first))
    before = {name.upper(): value for name, value in tags_of(source).items()}
    publish(tmp_path, source, settings_for(tmp_path))
    after = {name.upper(): value for name, value in tags_of(restored(tmp_path)).items()}
    assert before.items() <= after.items()
    assert after["RESTORATION_TOOL_2"] == "archive-restore 0.1.0"
    added = set(after) - set(before)
    assert added and all(name.endswith("_2") for name in added)
    record = json.loads(Path(f"{restored(tmp_path)}.json").read_bytes())
    assert set(record["tags"]) == added - {"SOURCE_ENCODER_2"}


@pytest.mark.parametrize(
    ("others", "name"),
    [
        ({}, "TOOL"),
        ({"title": "x"}, "TOOL"),
        ({"tool": "x"}, "TOOL_2"),
        ({"TOOL": "x", "Tool 2": "y"}, "TOOL_3"),
    ],
)
def test_a_name_that_is_taken_gets_a_number(others: dict[str, str], name: str) -> None:
    assert beside({"TOOL": "ours"}, others) == {name: "ours"}


@pytest.mark.parametrize(
    ("changed", "filled", "term"),
    [(0, 0, CAPTURED), (1, 0, ENHANCED), (9, 0, ENHANCED), (1, 1, GENERATED), (9, 2, GENERATED)],
)
def test_the_rule_of_the_digital_source_type(changed: int, filled: int, term: str) -> None:
    assert digital_source_type(changed, filled) == term
    assert term.startswith("http://cv.iptc.org/newscodes/digitalsourcetype/")
    assert term in (ROOT / "docs" / "provenance.md").read_text(encoding="utf-8")


def test_an_untouched_clip_is_called_so(tmp_path: Path) -> None:
    source = tmp_path / "reel.mkv"
    write_clip(source, Clip(frames=3))
    recipe = Recipe(strength=0.0)
    row = publish(tmp_path, source, settings_for(tmp_path, recipe), changed=0)
    tags = tags_of(restored(tmp_path))
    assert tags["RESTORATION_DIGITAL_SOURCE_TYPE"] == row["digital_source_type"] == CAPTURED
    assert tags["RESTORATION"] == "restoration that changed no picture; not the original"
    assert tags["RESTORATION_CHANGED"].startswith("0 of 3 frames")
    assert row["frames_changed"] == 0


def test_the_table_takes_the_row_and_refuses_another_term(tmp_path: Path) -> None:
    source = tmp_path / "reel.mkv"
    write_clip(source, Clip(frames=3))
    row = publish(tmp_path, source, settings_for(tmp_path))
    plain = {key: value for key, value in row.items() if key not in BESIDE_COLUMNS}
    table = to_table("clips", [plain], row["run"])
    assert table["digital_source_type"].to_pylist() == [ENHANCED]
    with pytest.raises(ValueError, match="digital_source_type"):
        to_table("clips", [plain | {"digital_source_type": "photo"}], row["run"])


def test_changes_are_counted_by_frame_and_weighed_by_length() -> None:
    class Seen:
        crc32 = (1, 2, 3, 4)
        conversion: object = None

    parts = {
        0: replace(
            a_segment(0), crc32=(1, 9, 3), start=0, stop=3, source_share=1.0, defect_share=0.0
        ),
        1: replace(a_segment(1), crc32=(8,), start=3, stop=4, source_share=0.0, defect_share=0.4),
    }
    changes = Changes.between(Seen(), parts)  # type: ignore[arg-type]
    assert (changes.frames, changes.of_frames) == (2, 4)
    assert changes.shares == {"source_share": 0.75, "defect_share": pytest.approx(0.1)}


def test_a_record_proves_itself_byte_for_byte() -> None:
    record = {"a": 1, "b": ["x", None], "c": 0.1}
    data = sealed(record)
    assert unsealed(data).items() >= record.items()
    assert json.loads(data)["record_sha256"] in data.decode()
    for index in range(len(data)):
        damaged = bytearray(data)
        damaged[index] ^= 1
        with pytest.raises(ValueError, match="does not match its content"):
            unsealed(bytes(damaged))
    with pytest.raises(ValueError, match="does not match its content"):
        unsealed(data + b"\n")


def test_no_json_of_an_output_holds_a_number_that_is_not_finite(tmp_path: Path) -> None:
    """One frame has no frame before it, and there is no reference: some measures are unknown."""
    source = tmp_path / "reel.mkv"
    write_clip(source, Clip(frames=1))
    row = publish(tmp_path, source, settings_for(tmp_path), changed=1)
    files = sorted((tmp_path / "out").rglob("*.json"))
    assert any(path.parent.name == "series" for path in files)
    for path in files:
        json.loads(
            path.read_bytes(), parse_constant=lambda name, p=path: pytest.fail(f"{p}: {name}")
        )
    record = json.loads(Path(f"{restored(tmp_path)}.json").read_bytes())
    assert record["row"]["ref_psnr_before_db"] is None
    columns = result_from_record(record["row"]).columns
    assert to_table("clips", [columns], row["run"]).num_rows == 1


def test_the_checksum_beside_the_file_is_one_that_sha256sum_reads(tmp_path: Path) -> None:
    source = tmp_path / "reel.mkv"
    write_clip(source, Clip(frames=3))
    publish(tmp_path, source, settings_for(tmp_path))
    command = ["sha256sum", "--check", "--strict", "reel_rst.mkv.sha256"]
    done = subprocess.run(command, cwd=restored(tmp_path).parent, capture_output=True, text=True)
    assert done.stdout == "reel_rst.mkv: OK\n"
