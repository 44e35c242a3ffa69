"""The survey of one clip: fetch, fixity, probe, and one decoding pass that finds cuts and
fingerprints frames.

What later stages need is in one JSON object in the ledger; rows only point to it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from pipeline import sources
from pipeline.decoding import Decoder
from pipeline.frames import Frame, Probe, to_ms
from pipeline.levels import LevelMeter, check_range
from pipeline.profiles import check_profiles, is_regular
from pipeline.scan import ScanMeter, scan_order, settle
from pipeline.shards import Shot
from pipeline.shots import ShotDetector, flickers, log_quantiles
from schemas.errors import ClipFault
from schemas.reasons import Reason
from schemas.recipe import Recipe

NEUTRAL = 1.0  # mean |chroma - neutral| in 8-bit code values up to which a clip is monochrome


@dataclass(frozen=True)
class Survey:
    """Facts of one source: where it is, what it is, every frame's PTS and CRC-32, its shots."""

    clip_id: str
    source_uri: str
    source_sha256: str
    source_token: str  # size and modification mark: tells a changed source without reading it
    probe: Probe
    pts: list[int]  # in probe.time_base units
    crc32: list[int]  # of each frame's planes
    shots: list[Shot]
    monochrome: bool
    messages: list[str]
    by_fields: bool = False  # restored field by field
    scan_measured: str = "unknown"
    range_measured: str = "unknown"
    surveyed: str = ""  # when its checksum was taken, ISO 8601 in UTC

    def to_json(self) -> bytes:
        plain = {f.name: getattr(self, f.name) for f in fields(self)}
        plain["probe"], plain["shots"] = self.probe.to_dict(), [asdict(shot) for shot in self.shots]
        return json.dumps(plain, separators=(",", ":")).encode()

    @classmethod
    def from_json(cls, data: bytes) -> Survey:
        plain: dict[str, Any] = json.loads(data)
        plain["probe"] = Probe.from_dict(plain["probe"])
        plain["shots"] = [Shot(**shot) for shot in plain["shots"]]
        return cls(**plain)


def check_fixity(path: Path, row: Mapping[str, Any]) -> str:
    """SHA-256 of the source; a manifest checksum that does not match raises FIXITY_MISMATCH."""
    sha256 = sources.checksum(path, "sha256")
    expected = str(row.get("checksum") or "").lower()
    if not expected:
        return sha256
    algorithm = str(row.get("checksum_algo") or "sha256").lower()
    found = sha256 if algorithm == "sha256" else sources.checksum(path, algorithm)
    if found != expected:
        raise ClipFault(
            Reason.FIXITY_MISMATCH,
            f"the source's {algorithm} is {found}, the manifest says {expected}",
        )
    return sha256


def survey_clip(row: Mapping[str, Any], recipe: Recipe, cache: Path) -> Survey:
    """Fetch, verify and decode the source of a manifest row once. Raises ClipFault."""
    uri = str(row["source_uri"])
    token = sources.source_token(uri)
    surveyed = datetime.now(UTC).isoformat(timespec="seconds")
    path = sources.fetch(uri, cache)
    sha256 = check_fixity(path, row)
    cuts, quantiles, colour = ShotDetector(), [], _Colour()
    scan, levels = ScanMeter(), LevelMeter()
    pts: list[int] = []
    crcs: list[int] = []
    with Decoder(path, recipe.limits) as decoder:
        for frame in decoder:
            luma = luma8(frame, decoder.probe)
            cuts.add(luma)
            scan.add(luma)
            levels.add(luma)
            quantiles.append(log_quantiles(luma))
            colour.add(frame, decoder.probe)
            pts.append(frame.pts)
            crcs.append(frame.crc32)
        probe, messages = decoder.probe, decoder.messages
    probe = at_rate(probe, row.get("expected_fps"))
    probe, by_fields = settle(probe, scan.finish(), row.get("field_order"))
    check_range(probe, levels.verdict)
    order = scan_order(probe, by_fields, scan.finish().verdict)
    times_ms = [to_ms(at, probe.time_base) for at in pts]
    check_profiles(recipe.profiles, probe, order, is_regular(times_ms, probe.fps))
    light = np.array(quantiles)
    shots = [
        Shot(shot.start, shot.stop, recipe.deflicker and flickers(light[shot.start : shot.stop]))
        for shot in cuts.finish()
    ]
    return Survey(
        str(row["clip_id"]), uri, sha256, token, probe, pts, crcs, shots, colour.neutral, messages,
        by_fields=by_fields, scan_measured=scan.finish().verdict, range_measured=levels.verdict,
        surveyed=surveyed,
    )  # fmt: skip


def at_rate(probe: Probe, expected_fps: str | None) -> Probe:
    """The probe of an image sequence at the rate the manifest gives: it has none of its own."""
    if probe.container != "image2":
        return probe
    if expected_fps is None:
        raise ClipFault(
            Reason.MANIFEST_INVALID, "an image sequence needs its frame rate in expected_fps"
        )
    return replace(probe, fps=Fraction(expected_fps), time_base=1 / Fraction(expected_fps))


def luma8(frame: Frame, probe: Probe) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """The first plane (luma, or green of RGB) as 8 bits."""
    plane = frame.planes[0]
    if probe.bit_depth == 8:
        return plane.astype(np.uint8, copy=False)
    return (plane >> (probe.bit_depth - 8)).astype(np.uint8)


class _Colour:
    """Whether a clip is monochrome: gray, or neutral chroma in every eighth frame."""

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
