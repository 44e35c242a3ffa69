"""The survey of one clip: fetch, fixity, probe, and one decoding pass over all frames.

The pass finds cuts and takes the CRC-32 of every frame. The result is one JSON object in the
ledger; rows do not repeat it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.frame_state import Scratch
from models.motion.deflicker import flickers, region_levels
from models.motion.interpolate import LONGEST
from pipeline.clip.box import Box
from pipeline.clip.clip import Clip
from pipeline.clip.conversion import Conversion
from pipeline.clip.frames import Frame, Probe, to_ms
from pipeline.clip.scan import scan_order
from pipeline.clip.shards import CLEAN, Shot
from pipeline.clip.survey import Survey
from pipeline.detect.blanking import BlankingMeter
from pipeline.detect.clean import CleanMeter
from pipeline.detect.convert import plan_conversion
from pipeline.detect.cuts import ShotDetector
from pipeline.detect.interlacing import InterlacingMeter, settle
from pipeline.detect.leader_and_bars import LeaderMeter
from pipeline.detect.signal_range import LevelMeter, check_range
from pipeline.detect.standing_scratches import StandingScratchMeter
from pipeline.detect.telecine import Cadence
from pipeline.media.decoder import Decoder
from pipeline.media.formats import LARGEST_SIDE, SMALLEST_SIDE
from pipeline.media.profiles import check_profiles, is_regular
from pipeline.plan.memory import tiles_within
from pipeline.runs.settings import setting_of
from pipeline.sources import fetch
from schemas.errors import ClipFault
from schemas.manifest import parse_frames
from schemas.reasons import Reason
from schemas.recipe import Limits, Recipe

ASKED = "asked"  # `left` of frames that the manifest names in its column leave
NEUTRAL = 1.0  # mean |chroma - neutral| in 8-bit code values up to which a clip is monochrome


def check_fixity(path: Path, clip: Clip) -> dict[str, str]:
    """MD5 and SHA-256 of the source.

    Raises ClipFault: FIXITY_MISMATCH if the manifest has another checksum, TRUNCATED if the file is
    empty.
    """
    found = fetch.checksums(path)
    expected = (clip.checksum or "").lower()
    algorithm = (clip.checksum_algo or "sha256").lower()
    if expected and found[algorithm] != expected:
        raise ClipFault(
            Reason.FIXITY_MISMATCH,
            f"the source's {algorithm} is {found[algorithm]}, the manifest says {expected}",
        )
    if path.is_file() and not path.stat().st_size:
        raise ClipFault(Reason.TRUNCATED, "the file is empty")
    return found


def survey_clip(clip: Clip, recipe: Recipe, cache: Path, room: int | None = None) -> Survey:
    """Fetch, verify and decode the source of a clip. Raises ClipFault.

    The source is decoded once, and a second time if its fields are converted to frames. `room` is
    the memory in bytes that restoring may take: a clip that needs more is not decoded.
    """

    def accept(probe: Probe) -> None:
        check_sides(probe)
        if room is not None:
            tiles_within(room, recipe, probe.width, probe.height)

    uri = clip.source_uri
    if setting_of(clip, recipe, "gaps") == "refused":
        fetch.refuse_gaps(uri)
    token = fetch.token_in_time(uri)
    surveyed = datetime.now(UTC).isoformat(timespec="seconds")
    with fetch.fetched(uri, cache, token, current=True) as path:
        sums = check_fixity(path, clip)
        wanted = runs_of(clip.fill) if recipe.strength else []
        fill = [frame for run in wanted for frame in run]
        judge = recipe.clean == "leave" and recipe.strength > 0
        seen = _Pass(path, recipe.limits, fill=fill, judge=judge, accept=accept)
        probe = at_rate(seen.probe, clip.expected_fps, seen.pts)
        said, measured = clip.field_order, seen.scan.finish()
        probe, by_fields = settle(probe, measured, said)
        check_range(probe, seen.levels.verdict)
        policy, gaps = setting_of(clip, recipe, "interlace"), fetch.missing(uri)
        if policy != "keep" and gaps:
            raise ClipFault(
                Reason.INTERLACE_REFUSED, f"{policy} was asked for, but files are missing"
            )
        conversion = plan_conversion(policy, probe, measured.verdict, said, seen.cadence, seen.pts)
        if fill and (by_fields or conversion):
            raise ClipFault(Reason.FILL_REFUSED, "frames of interlaced clips cannot be filled")
        shown = seen if conversion is None else _Pass(path, recipe.limits, conversion)
        shots = shown.shots(recipe.deflicker, runs_of(clip.leave))
        if by_fields and conversion is None:  # a frame mixes two instants: not judged as one
            shots = [replace(s, left="", found="interlaced") if s.left == CLEAN else s
                     for s in shots]  # fmt: skip
        check_fill(wanted, shots)
        made = probe if conversion is None else conversion.probe(probe)
        by_fields = by_fields and conversion is None
        times_ms = [to_ms(at, made.time_base) for at in shown.pts]
        order = scan_order(made, by_fields, measured.verdict)
        check_profiles(recipe.profiles, made, order, is_regular(times_ms, made.fps))
        return Survey(
            clip.clip_id, uri, sums["sha256"], token,
            made, shown.pts, shown.crcs, shots, shown.colour.neutral, seen.messages,
            by_fields=by_fields, scan_measured=measured.verdict,
            range_measured=seen.levels.verdict, surveyed=surveyed,
            field_order=seen.probe.field_order,
            conversion=conversion, source_pts=[] if conversion is None else seen.pts,
            blanking=shown.blanking.finish(), gaps=gaps, fill=fill,
            protect=protected(clip.protect, made, by_fields),
            scratches=shown.scratches(shots) if recipe.strength else [],
            recipe_sha256=recipe.digest, source_md5=sums["md5"],
        )  # fmt: skip


def runs_of(text: str | None) -> list[range]:
    """The runs of frames that a column of the manifest names."""
    return parse_frames(text) if text else []


def protected(text: str | None, probe: Probe, by_fields: bool) -> list[str]:
    """The boxes that a manifest protects, widened to whole chroma samples.

    Raises ClipFault(MANIFEST_INVALID) for a box that is not inside the picture.
    """
    try:
        boxes = [Box.parse(part) for part in (text or "").split()]
        return [str(box.widened(probe, by_fields)) for box in boxes]
    except ValueError as error:
        raise ClipFault(Reason.MANIFEST_INVALID, f"protect: {error}") from error


def check_fill(wanted: Sequence[range], shots: Sequence[Shot]) -> None:
    """Raises ClipFault(FILL_REFUSED) for a run of frames that cannot be interpolated."""
    for run in wanted:
        inside = any(shot.start < run.start and run.stop < shot.stop for shot in shots)
        if len(run) > LONGEST or not inside:
            why = "not inside one shot" if len(run) <= LONGEST else f"more than {LONGEST} in a row"
            raise ClipFault(Reason.FILL_REFUSED, f"frames {run.start} to {run.stop - 1} are {why}")


def check_sides(probe: Probe) -> None:
    """Raises `ClipFault(UNSUPPORTED_FORMAT)` for a picture that is too small or too large."""
    sides = probe.width, probe.height
    if not (SMALLEST_SIDE <= min(sides) and max(sides) <= LARGEST_SIDE):
        raise ClipFault(
            Reason.UNSUPPORTED_FORMAT,
            f"a picture of {probe.width}x{probe.height}: each side must have "
            f"{SMALLEST_SIDE} to {LARGEST_SIDE} pixels",
        )


class _Pass:
    """One decoding pass over a source, with all its measurements."""

    def __init__(
        self,
        path: Path,
        limits: Limits,
        conversion: Conversion | None = None,
        fill: Collection[int] = (),
        judge: bool = False,
        accept: Callable[[Probe], None] = check_sides,
    ) -> None:
        self._fill = fill
        self._clean = CleanMeter() if judge else None
        self._scratches = StandingScratchMeter()
        self._last: NDArray[np.uint8] | None = None
        self.pts: list[int] = []
        self.crcs: list[int] = []
        self.colour, self.scan, self.levels = _Colour(), InterlacingMeter(), LevelMeter()
        self.cadence, self.leader, self.blanking = Cadence(), LeaderMeter(), BlankingMeter()
        self._cuts = ShotDetector()
        self._levels: list[NDArray[np.float64]] = []
        with Decoder(path, limits, conversion=conversion) as decoder:
            accept(decoder.probe)
            for frame in decoder:
                self._add(frame, decoder.probe)
            self.probe, self.messages = decoder.probe, decoder.messages

    def _add(self, frame: Frame, probe: Probe) -> None:
        self.pts.append(frame.pts)
        self.crcs.append(frame.crc32)
        luma = luma8(frame, probe)
        if frame.index in self._fill and self._last is not None:  # a frame to fill holds no picture
            luma = self._last
        self._last = luma
        self._cuts.add(luma)
        self.scan.add(luma)
        self.cadence.add(luma)
        self.levels.add(luma)
        self._levels.append(region_levels(luma))
        self.colour.add(frame, probe)
        self._scratches.add(luma)
        if self._clean is not None:
            self._clean.add(luma)
        if not self.leader.add(luma):  # bars and slates fill the frame, so they show no blanking
            self.blanking.add(luma)

    def shots(self, deflicker: bool, leave: Sequence[range]) -> list[Shot]:
        """The shots, split at cuts, at missing frames, and around frames that are left.

        Frames are left if they are leader, bars or a slate, or if the manifest names them. Raises
        ClipFault(MANIFEST_INVALID) if ``leave`` names a frame that the clip does not have.
        """
        count = len(self.pts)
        if leave and leave[-1].stop > count:
            raise ClipFault(
                Reason.MANIFEST_INVALID,
                f"leave names frame {leave[-1].stop - 1}, but the last frame is {count - 1}",
            )
        kinds = [""] * count
        for start, stop, kind in (
            *self.leader.finish(),
            *((r.start, r.stop, ASKED) for r in leave),
        ):
            kinds[start:stop] = [kind] * (stop - start)
        edges = {0, count, *(i for i, (a, b) in enumerate(pairwise(kinds), start=1) if a != b)}
        edges |= {shot.start for shot in self._cuts.finish() if not kinds[shot.start]}
        if self.probe.container == "image2":  # its timestamps are file numbers
            edges |= {i for i, (a, b) in enumerate(pairwise(self.pts), start=1) if b > a + 1}
        light = np.array(self._levels)
        shots = []
        for start, stop in pairwise(sorted(edges)):
            levels, left = light[start:stop], kinds[start]
            found = () if left else self._found(start, stop, levels)
            unsteady = deflicker and not left and flickers(levels)
            if found is not None and not found and not left:
                left = CLEAN
            shots.append(Shot(start, stop, unsteady, left, ", ".join(found or ())))
        return shots

    def scratches(self, shots: Sequence[Shot]) -> list[Scratch]:
        """The scratches that stand still in the shots that are restored."""
        return [
            scratch
            for shot in shots if not shot.left
            for scratch in self._scratches.scratches(shot.start, shot.stop)
        ]  # fmt: skip

    def _found(self, start: int, stop: int, levels: NDArray[np.float64]) -> tuple[str, ...] | None:
        """Why a shot is not clean; empty if it is, None if it is not judged.

        Film and tape without colour often hide their age from the measures, so the evidence does
        not clear them.
        """
        if self._clean is None:
            return None
        if any(start <= frame < stop for frame in self._fill):
            return ("missing",)
        found = self._clean.findings(start, stop, levels)
        if any(self._scratches.scratches(start, stop)):
            found = (*found, "scratches")
        return (*found, "monochrome") if self.colour.neutral else found


def at_rate(probe: Probe, expected_fps: str | None, pts: Sequence[int]) -> Probe:
    """The probe of an image sequence, with the frame rate from the manifest.

    Files of other formats have their own rate. Raises ClipFault(MANIFEST_INVALID) without a rate.
    """
    if probe.container != "image2":
        return probe
    if expected_fps is None:
        raise ClipFault(
            Reason.MANIFEST_INVALID, "an image sequence needs its frame rate in expected_fps"
        )
    fps = Fraction(expected_fps)
    seconds = float((pts[-1] - pts[0] + 1) / fps)
    return replace(probe, fps=fps, time_base=1 / fps, duration_seconds=seconds)


def luma8(frame: Frame, probe: Probe) -> NDArray[np.uint8]:
    """The first plane (luma, or green of RGB) as 8 bits."""
    plane = frame.planes[0]
    if probe.bit_depth == 8:
        return plane.astype(np.uint8, copy=False)
    return (plane >> (probe.bit_depth - 8)).astype(np.uint8)


class _Colour:
    """Measures whether a clip is monochrome: gray, or neutral chroma in every eighth frame."""

    def __init__(self) -> None:
        self._deviations: list[float] = []
        self._coloured = False

    def add(self, frame: Frame, probe: Probe) -> None:
        if probe.pix_fmt.startswith("gbr"):
            self._coloured = True
        elif len(frame.planes) >= 3 and frame.index % 8 == 0:
            unit = 1 << (probe.bit_depth - 8)
            for plane in frame.planes[1:3]:
                deviation = np.abs(plane[::2, ::2].astype(np.int32) - 128 * unit).mean() / unit
                self._deviations.append(float(deviation))

    @property
    def neutral(self) -> bool:
        return not self._coloured and max(self._deviations, default=0.0) <= NEUTRAL
