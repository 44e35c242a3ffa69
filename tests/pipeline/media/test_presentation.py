"""How a picture is shown: in which order, which way up, and mirrored or not."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest

from pipeline.clip.frames import UNIT, Probe
from pipeline.media.decoder import Decoder
from pipeline.media.deriver import derive
from schemas.errors import ClipFault
from schemas.reasons import Reason
from tests.support.media.media_factory import read_counter
from tests.support.media.shown import FRAMES, ONE, TURNS
from tests.support.media.shown import write_shown as write
from tests.support.media.trips import LIMITS, make_trip


def probe_of(path: Path) -> Probe:
    with Decoder(path, LIMITS, count=0) as decoder:
        return decoder.probe


ANAMORPHIC = Fraction(4, 3)


@pytest.mark.parametrize(
    ("turn", "sar"),
    [*((turn, None) for turn in TURNS), ("mirrored", ANAMORPHIC), ("turned", ANAMORPHIC)],
)
def test_the_master_is_turned_and_mirrored_as_its_source(
    turn: str, sar: Fraction | None, tmp_path: Path
) -> None:
    source = probe_of(write(tmp_path / "a.mp4", TURNS[turn], sar))
    a, b, _, c, d, *_ = TURNS[turn]
    assert source.display == tuple(value * UNIT // ONE for value in (a, b, c, d))
    trip = make_trip(tmp_path / "a.mp4", tmp_path, parts=1)
    assert len(trip.verify()) == FRAMES
    master = probe_of(trip.out)
    assert (master.display, master.rotation, master.sar) == (
        source.display, source.rotation, source.sar,
    )  # fmt: skip


@pytest.mark.parametrize("profile", ["mezzanine", "access"])
def test_derived_files_are_turned_and_mirrored_as_their_master(
    profile: str, tmp_path: Path
) -> None:
    write(tmp_path / "a.mp4", TURNS["turned and mirrored"])
    master = make_trip(tmp_path / "a.mp4", tmp_path).out
    probe, times = probe_of(master), [40 * index for index in range(8, 8 + FRAMES)]
    made = derive(profile, master, probe, "progressive", times, tmp_path, LIMITS)
    assert probe_of(made.path).display == probe.display == (0, UNIT, UNIT, 0)


def test_an_output_that_is_not_mirrored_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "a.mp4", TURNS["mirrored"])
    write(tmp_path / "b.mp4")
    mirrored, plain = (probe_of(tmp_path / name) for name in ("a.mp4", "b.mp4"))
    assert plain.display == ()
    trip = make_trip(tmp_path / "b.mp4", tmp_path)
    with pytest.raises(ClipFault, match="display is") as caught:
        trip.verify(probe=mirrored)
    assert caught.value.reason is Reason.VERIFY_MISMATCH


@pytest.mark.parametrize(
    ("matrix", "sar", "why"),
    [
        ((ONE, ONE // 2, 0, 0, ONE, 0, 0, 0, 1 << 30), None, "distorts the picture"),
        (TURNS["turned and mirrored"], ANAMORPHIC, "mirrored and turned"),
    ],
)
def test_what_the_master_cannot_state_is_refused(
    matrix: tuple[int, ...], sar: Fraction | None, why: str, tmp_path: Path
) -> None:
    write(tmp_path / "a.mp4", matrix, sar)
    with pytest.raises(ClipFault, match=why) as caught:
        probe_of(tmp_path / "a.mp4")
    assert caught.value.reason is Reason.UNSUPPORTED_FORMAT


@pytest.mark.parametrize(
    ("name", "codec"), [("a.avi", "libx264"), ("a.mp4", "mpeg4"), ("b.mp4", "libx264")]
)
def test_timestamps_in_the_order_of_decoding_are_put_in_order(
    name: str, codec: str, tmp_path: Path
) -> None:
    path = write(tmp_path / name, b_frames=2, codec=codec, decoding_order=True)
    with Decoder(path, LIMITS) as decoder:
        frames = list(decoder)
    assert decoder.probe.reordered
    assert any("in the order of decoding only" in text for text in decoder.messages)
    times = [frame.pts * decoder.probe.time_base * 25 for frame in frames]
    assert [at - times[0] for at in times] == list(range(len(frames)))
    numbers = [read_counter(frame.planes[0]) for frame in frames]
    assert numbers == list(range(numbers[0], FRAMES)) and len(numbers) >= FRAMES - 2
    with Decoder(path, LIMITS, start_pts=frames[4].pts, start_index=4) as later:
        assert [(frame.pts, frame.crc32) for frame in later] == [
            (frame.pts, frame.crc32) for frame in frames[4:]
        ]


def test_timestamps_in_the_order_of_presentation_are_kept(tmp_path: Path) -> None:
    probe = probe_of(write(tmp_path / "a.mp4", b_frames=2))
    assert not probe.reordered
