"""Interlaced clips: fields are kept, deinterlaced, or inverse telecined to film frames."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.clip.clip import Clip as ManifestClip
from pipeline.clip.conversion import Conversion
from pipeline.clip.fields import field_of, woven
from pipeline.clip.frames import to_ms
from pipeline.clip.pulldown import film_frames
from pipeline.clip.shards import plan_shards
from pipeline.clip.survey import Survey
from pipeline.detect.convert import plan_conversion
from pipeline.detect.telecine import Cadence
from pipeline.media.decoder import Decoder
from pipeline.proof.bag import BagOptions, make_bag
from pipeline.proof.fixity import check_published
from pipeline.runs.results import unchanged
from schemas.errors import ClipFault
from schemas.reasons import Reason
from schemas.recipe import Limits, Recipe
from tests.support.media.interlaced import HEIGHT, WIDTH, drawn, measured, write_planes
from tests.support.media.media_factory import Clip, Sound, draw_planes, write_clip
from tests.support.media.probes import PROBE
from tests.support.media.seen import look
from tests.support.studio import Studio

NTSC = Fraction(30000, 1001)
VIDEO = replace(
    PROBE, width=WIDTH, height=HEIGHT, field_order="tt", fps=NTSC, time_base=1 / NTSC
)  # fmt: skip
Planes = tuple[np.ndarray, ...]


def film(count: int) -> list[Planes]:
    """Waves that move from frame to frame."""
    frames = []
    for index in range(count):
        planes = draw_planes(0, "yuv420p", WIDTH, HEIGHT)
        for number, plane in enumerate(planes):
            y, x = np.mgrid[0 : plane.shape[0], 0 : plane.shape[1]]
            phase = 4 * x / plane.shape[1] + y / plane.shape[0] - 0.17 * index + number / 3
            plane[:] = (128 + 75 * np.sin(2 * np.pi * phase)).astype(np.uint8)
        frames.append(tuple(planes))
    return frames


def telecined(frames: Sequence[Planes], order: str = "tff", start: int = 0) -> list[Planes]:
    """Film in 2:3 pulldown, from video frame `start` of the cycle on."""
    fields = [frame for i, frame in enumerate(frames) for _ in range(2 + i % 2)]
    first = 0 if order == "tff" else 1
    pairs = zip(fields[0::2], fields[1::2], strict=False)
    video = []
    for earlier, later in pairs:
        halves = field_of(earlier, first), field_of(later, 1 - first)
        video.append(woven(*(halves if first == 0 else halves[::-1])))
    return video[start:]


def cadence_of(lumas: Sequence[np.ndarray]) -> Cadence:
    cadence = Cadence()
    for luma in lumas:
        cadence.add(luma)
    return cadence


def same(got: Planes, expected: Planes) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(got, expected, strict=True))


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Studio:
    return Studio(tmp_path_factory.mktemp("studio"), Recipe(strength=0.0, shard_frames=5))


# ---- telecine ------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", ["tff", "bff"])
@pytest.mark.parametrize("start", range(5))
@pytest.mark.parametrize("noise", [0.0, 4.0])
def test_the_cadence_is_found_at_every_phase(order: str, start: int, noise: float) -> None:
    rng = np.random.default_rng(start)
    lumas = [planes[0] for planes in telecined(film(24), order, start)]
    noisy = [np.clip(y + rng.normal(0, noise, y.shape), 0, 255).astype(np.uint8) for y in lumas]
    other = "bff" if order == "tff" else "tff"
    assert cadence_of(noisy).phase(order) == -start % 5
    assert cadence_of(noisy).phase(other) is None


@pytest.mark.parametrize("order", ["tff", "bff"])
@pytest.mark.parametrize("start", range(5))
@pytest.mark.parametrize("cut", range(3))
def test_film_frames_are_rebuilt_from_their_fields(order: str, start: int, cut: int) -> None:
    """Every film frame with both fields in the clip is rebuilt, with its timestamp."""
    frames = film(12)
    video = telecined(frames, order, start)[: 15 - start - cut]
    stamped = [(100 * (start + i), planes) for i, planes in enumerate(video)]
    found = list(film_frames(stamped, order, -start % 5))
    numbers = [next(i for i, f in enumerate(frames) if same(f, planes)) for _, planes in found]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    assert len(numbers) >= (4 * len(video)) // 5 - 1
    assert [pts for pts, _ in found] == [500 * n for n in numbers]  # 4 ticks of 100 for 5 frames


def broken(kind: str) -> list[Planes]:
    if kind == "spliced":  # a cut in the video that skips a frame of the cycle
        video = telecined(film(40))
        return video[:22] + video[24:]
    if kind == "mixed":  # video of 60 fields a second after film
        return telecined(film(24)) + [tuple(p) for p in drawn("tff", frames=20)]
    if kind == "video":
        return [tuple(p) for p in drawn("tff", frames=30)]
    return [tuple(draw_planes(0, "yuv420p", WIDTH, HEIGHT))] * 30


@pytest.mark.parametrize("kind", ["spliced", "mixed", "video", "still"])
def test_an_unsteady_cadence_is_not_found(kind: str) -> None:
    assert cadence_of([planes[0] for planes in broken(kind)]).phase("tff") is None


def test_a_clip_without_a_steady_cadence_is_held(studio: Studio, tmp_path: Path) -> None:
    source = write_planes(tmp_path / "clip.mkv", VIDEO, broken("spliced"))
    with pytest.raises(ClipFault, match=r"no steady 2:3 cadence.*first at frame 2") as fault:
        studio.survey(source, interlace="ivtc")
    assert fault.value.reason is Reason.INTERLACE_REFUSED
    assert fault.value.state == "held"


@pytest.mark.parametrize("order", ["bff"])
def test_telecined_film_is_published_as_film(order: str, studio: Studio, tmp_path: Path) -> None:
    frames = film(24)
    probe = replace(VIDEO, field_order={"tff": "tt", "bff": "bb"}[order])
    source = write_planes(tmp_path / f"{order}.mkv", probe, telecined(frames, order, 2))
    restored = studio.publish(source, interlace="ivtc")
    survey, row = restored.survey, restored.row
    assert len(plan_shards(survey.shots, 5)) > 3
    with Decoder(restored.path, Limits()) as decoder:
        got = list(decoder)
        assert decoder.probe.field_order == "progressive"
        assert abs(decoder.probe.fps / Fraction(24000, 1001) - 1) < 1e-6
    # video frame 2 has only one field of the second film frame
    assert all(same(f.planes, frames[i]) for i, f in enumerate(got, start=2))
    assert (row["frames"], row["source_frames"]) == (len(got), len(survey.source_pts)) == (22, 28)
    times = [to_ms(pts, survey.probe.time_base) for pts in survey.pts]
    due = [1001 * (n - 1.6) / 24 for n in range(2, 24)]
    assert all(abs(at - exact) <= 1.5 for at, exact in zip(times, due, strict=True))  # Matroska's
    assert (row["interlace"], row["conversion"]) == ("ivtc", f"ivtc {order} 3")
    assert (row["field_order"], row["fps_num"]) == (probe.field_order, 24000)


# ---- deinterlacing -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("policy", "order"), [("deinterlace", "tff"), ("deinterlace-single", "bff")]
)
def test_fields_become_frames(policy: str, order: str, studio: Studio, tmp_path: Path) -> None:
    clip = Clip(
        pix_fmt="yuv422p10le", scan=order, field_order={"tff": 2, "bff": 3}[order], width=WIDTH,
        height=HEIGHT, frames=13, sounds=(Sound("pcm_s16le"),), tags={"timecode": "10:00:00:00"},
    )  # fmt: skip
    source = tmp_path / f"{policy}-{order}.mkv"
    sent = write_clip(source, clip)
    restored = studio.publish(source, interlace=policy)
    rate = 2 if policy == "deinterlace" else 1
    before, after = look(source), look(restored.path)
    assert (after.order, after.flagged) == (1, [False] * 13 * rate)
    assert after.fps == 25 * rate
    assert after.seconds == [Fraction(i, 25 * rate) for i in range(13 * rate)]
    assert after.sounds == before.sounds
    word = policy.replace("interlace", "interlaced")
    assert restored.row["interlace"] == word
    assert restored.path.name == f"{policy}-{order}_{word}_rst.mkv"
    with Decoder(restored.path, Limits()) as decoder:
        frames = list(decoder)
    for frame in frames:  # the lines of the current field are those of the source
        index, second = divmod(frame.index, rate)
        parity = second if order == "tff" else 1 - second
        assert same(field_of(frame.planes, parity), field_of(tuple(sent[index]), parity))
    assert measured([(f.planes[0] >> 2).astype(np.uint8) for f in frames]).verdict != order
    tags = tags_of(restored.path)
    assert "deinterlaced" in tags["RESTORATION_INTERLACE"]
    assert f"13 frames became {13 * rate} at {25 * rate} a second" in tags["RESTORATION_INTERLACE"]


def tags_of(path: Path) -> dict[str, str]:
    import av

    with av.open(str(path)) as container:
        return dict(container.metadata)


@pytest.mark.parametrize("policy", ["deinterlace", "deinterlace-single", "ivtc"])
def test_a_frame_does_not_depend_on_where_decoding_starts(
    policy: str, studio: Studio, tmp_path: Path
) -> None:
    frames = telecined(film(40), start=1) if policy == "ivtc" else drawn("tff", frames=24)
    source = write_planes(tmp_path / "clip.mkv", VIDEO, frames)
    survey = studio.survey(source, interlace=policy)
    expected = list(zip(survey.pts, survey.crc32, strict=True))
    for first in (1, 12, 19):
        start, begun, conversion = survey.entry(first)
        with Decoder(source, Limits(), start, begun, conversion=conversion) as decoder:
            found = {frame.index: (frame.pts, frame.crc32) for frame in decoder}
        wanted = range(first, len(expected))
        assert [found[i][1] for i in wanted] == [expected[i][1] for i in wanted]
        assert max(abs(found[i][0] - expected[i][0]) for i in wanted) <= 4  # a source tick
        assert max(found) == len(expected) - 1
        assert min(found) > 0 or first < 12


@pytest.mark.parametrize(
    ("order", "scan", "said", "sentence"),
    [
        ("progressive", "progressive", None, "the clip is progressive"),
        ("tt", "progressive", None, "but its lines are progressive"),
        ("tt", "tff", "progressive", "the clip is progressive"),
    ],
)
def test_progressive_clips_are_held_not_deinterlaced(
    order: str, scan: str, said: str | None, sentence: str, studio: Studio, tmp_path: Path
) -> None:
    source = write_planes(tmp_path / "clip.mkv", replace(VIDEO, field_order=order), drawn(scan))
    with pytest.raises(ClipFault, match=f"deinterlace was asked for, but.*{sentence}") as fault:
        studio.survey(source, interlace="deinterlace", field_order=said)
    assert fault.value.reason is Reason.INTERLACE_REFUSED


def test_the_manifest_may_say_that_lines_are_fields(studio: Studio, tmp_path: Path) -> None:
    source = write_planes(tmp_path / "clip.mkv", VIDEO, drawn("progressive"))
    survey = studio.survey(source, interlace="deinterlace", field_order="bff")
    assert survey.conversion == Conversion("deinterlace", "bff")
    assert survey.interlace == "deinterlaced"
    assert Survey.from_json(survey.to_json()) == survey


def test_a_varying_rate_and_an_odd_format_are_refused(studio: Studio, tmp_path: Path) -> None:
    cadence = cadence_of([planes[0] for planes in telecined(film(24))])
    with pytest.raises(ClipFault, match="rate varies"):
        plan_conversion("ivtc", VIDEO, "tff", None, cadence, [0, 33, 67, 133])
    assert plan_conversion("ivtc", VIDEO, "tff", None, cadence, [0, 33, 67, 100]) is not None
    gray = replace(VIDEO, pix_fmt="gray10le", bit_depth=10)
    frames: Any = [draw_planes(i, "gray10le", WIDTH, HEIGHT) for i in range(3)]
    source = write_planes(tmp_path / "gray.mkv", gray, frames)
    with pytest.raises(ClipFault, match="does not take gray10le") as fault:
        studio.survey(source, interlace="deinterlace")
    assert fault.value.reason is Reason.UNSUPPORTED_FORMAT


def test_manifest_columns_change_the_work_key(studio: Studio) -> None:
    clip = ManifestClip("reel", "reel.mkv")
    plain = studio.settings.work_key("0" * 64, replace(clip, notes="x"))
    assert plain == studio.settings.work_key("0" * 64, clip)
    assert plain != studio.settings.work_key("0" * 64, replace(clip, interlace="ivtc"))


def test_files_of_another_name_are_deleted(tmp_path: Path) -> None:
    source = tmp_path / "reel.mkv"
    write_clip(source, Clip(scan="tff", field_order=2, width=WIDTH, height=HEIGHT, frames=6))
    studio = Studio(tmp_path, Recipe(strength=0.0, profiles=("preservation", "access")))
    kept_as_fields = ManifestClip("reel", str(source))
    row = replace(kept_as_fields, interlace="deinterlace")
    made = studio.publish(source, interlace="deinterlace")
    assert unchanged(row, studio.settings)
    assert not unchanged(kept_as_fields, studio.settings)
    make_bag("reel", studio.settings.out, tmp_path / "bags", BagOptions("Archive"))
    assert (tmp_path / "bags" / "reel" / "data" / "reel_deinterlaced_rst_sc.mp4").is_file()
    kept = studio.publish(source)
    assert (kept.row["regions_repaired"], kept.row["largest_repair_frame"]) == (0, None)
    kinds = ("", ".framemd5", ".json", ".premis.xml")
    names = {path.name for path in made.path.parent.iterdir()}
    assert names == {f"reel_rst.mkv{kind}" for kind in kinds} | {"reel_rst_sc.mp4"}
    assert check_published(str(kept.path)).faults == []
    assert unchanged(kept_as_fields, studio.settings)
    assert not unchanged(row, studio.settings)


def test_a_conversion_is_parsed_from_its_text() -> None:
    for policy in ("deinterlace", "deinterlace-single", "ivtc"):
        conversion = Conversion(policy, "bff", 3)
        assert Conversion.parse(str(conversion)) == conversion
