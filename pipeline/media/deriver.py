"""Derive a file of another profile from the verified master, and verify it.

A child process, `child.derive`, makes the file.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np

from pipeline.clip.fields import field_of
from pipeline.clip.frames import CarriedStream, Plane, Probe, StreamHash
from pipeline.clip.scan import SCAN_OF
from pipeline.media.decoder import Decoder
from pipeline.media.faults import mismatch
from pipeline.media.muxer import SLACK_BYTES, stream_hashes
from pipeline.media.planes import Overlay, chroma_steps
from pipeline.media.profiles import (
    FORMS,
    LIMITED,
    UNSPECIFIED,
    Form,
    frames_of,
    is_full,
    is_regular,
    matrix_for,
    standard_rate,
    timecode_for,
    times_of,
)
from pipeline.media.sandbox import ask
from pipeline.media.tolerances import (
    DERIVED_LATE_MS,
    DERIVED_RATIO_TOLERANCE,
    DERIVED_SYNC_SECONDS,
)
from pipeline.media.wire import DeriveRequest
from schemas.colour_names import ColourKind, colour_name
from schemas.errors import ClipFault
from schemas.reasons import Reason
from schemas.recipe import Limits

CHROMA_SHARE = 4  # chroma is compared at a quarter of its size, where both subsamplings agree
# H.273 code points with the same meaning: transfer curves, matrices.
SAME_CURVE, SAME_MATRIX = {1, 6, 14, 15}, {5, 6}
# Weights of red and blue in luma, by H.273 matrix. Other matrices use those of BT.601.
LUMA_WEIGHTS = {1: (0.2126, 0.0722), 9: (0.2627, 0.0593)}
BT601 = (0.299, 0.114)
BEST_DB = 99.0  # PSNR of equal pictures
LABEL_DB = 20.0  # PSNR of the place of a label at least; without the label it has about 10

Picture = np.ndarray[tuple[int, ...], np.dtype[np.float32]]


@dataclass(frozen=True)
class Derived:
    """A verified derived file.

    `psnr_db` and `chroma_psnr_db` are the lowest of all frames, compared with the master (no
    chroma: 99). `streams` lists everything but the picture, and what the form cannot keep.
    """

    profile: str
    path: Path
    frames: int
    psnr_db: float
    chroma_psnr_db: float
    streams: tuple[CarriedStream, ...]

    def to_dict(self) -> dict[str, object]:
        """The values as they stand in the clip's record."""
        values = asdict(self)
        return values | {"file": values.pop("path").name}


def derive(
    profile: str,
    master: Path,
    probe: Probe,
    order: str,
    times_ms: Sequence[int],
    folder: Path,
    limits: Limits,
    label: Overlay | None = None,
) -> Derived:
    """Make the file of a profile from the master, and verify it.

    `probe` and `times_ms` are those of the master; `order` is progressive, tff or bff. The name of
    the file is the master's stem and the profile's suffix. `label` is drawn into every
    picture of 8 bits. Raises `ClipFault`; then the file does not exist.
    """
    form = FORMS[profile]
    out = folder / (master.stem + form.suffix)
    frames = len(times_ms) * frames_of(form, order)
    raw_bytes = 6 * probe.width * probe.height * frames
    request: DeriveRequest = {
        "path": str(master.resolve()),
        "out": str(out.resolve()),
        "profile": profile,
        "probe": probe.to_dict(),
        "order": order,
        "times_ms": list(times_ms),
        "frames": frames,
        "regular": is_regular(times_ms, probe.fps),
        "limits": asdict(limits),
        "max_bytes": raw_bytes + 16 * master.stat().st_size + SLACK_BYTES,
        "label": label.plain() if label else None,
    }
    try:
        report = ask("pipeline.media.child.derive", request, limits)
        streams = tuple(CarriedStream(**stream) for stream in report["streams"])
        return _verified(profile, out, master, order, times_ms, streams, limits, label)
    except BaseException:
        out.unlink(missing_ok=True)
        raise


def _verified(
    profile: str,
    out: Path,
    master: Path,
    order: str,
    times_ms: Sequence[int],
    streams: tuple[CarriedStream, ...],
    limits: Limits,
    label: Overlay | None,
) -> Derived:
    form = FORMS[profile]
    found, original = stream_hashes(out, limits), stream_hashes(master, limits)
    with Decoder(master, limits) as source, Decoder(out, limits) as derived:
        _check_declared(form, out.name, source.probe, derived.probe, order)
        worst = _compared(form, out.name, source, derived, order, times_ms, label)
    _check_streams(form, out.name, found, original, streams)
    count = len(times_ms) * frames_of(form, order)
    return Derived(profile, out, count, round(worst[0], 2), round(worst[1], 2), streams)


def _compared(
    form: Form,
    name: str,
    source: Decoder,
    derived: Decoder,
    order: str,
    times_ms: Sequence[int],
    label: Overlay | None,
) -> tuple[float, float]:
    """Compare every frame with the master: number, time, picture. Returns the lowest PSNRs.

    The label is drawn into the master's pictures as well, and compared by itself.
    """
    per_frame = frames_of(form, order)
    due = times_of(times_ms, per_frame)
    begin = times_ms[0] if form.container == "mxf" else 0
    matrix, clock = matrix_for(source.probe), derived.probe.time_base
    worst = [BEST_DB, BEST_DB]
    count = 0
    masters = _each_field(source, order) if per_frame == 2 else ((f.planes, None) for f in source)
    for (planes, parity), frame in zip(masters, derived, strict=False):
        at = frame.pts * clock * 1000
        if abs(at - due[count] + begin) > DERIVED_LATE_MS:
            wanted = float(due[count] - begin)
            raise mismatch(name, f"frame {count} is at {float(at):.1f} ms, not at {wanted:.1f} ms")
        before = _pictures(planes, source.probe, matrix)
        after = _pictures(frame.planes, derived.probe, matrix)
        if parity is not None:
            after[0] = after[0][parity::2]
        if label is not None:
            seen = label if parity is None else label.field(parity)
            before = _labelled(before, seen, source.probe)
            if (there := _psnr(_inside(before[0], seen), _inside(after[0], seen))) < LABEL_DB:
                raise mismatch(name, f"frame {count} does not show the label: {there:.1f} dB")
        found = _distances(before, after)
        if min(found) < form.floor_db:
            sentence = f"frame {count} has {min(found):.1f} dB to the master"
            raise mismatch(name, f"{sentence}, less than {form.floor_db:.0f}")
        worst = [min(pair) for pair in zip(worst, found, strict=True)]
        count += 1
    left = sum(1 for _ in derived) if count == len(due) else 0
    if count != len(due) or left:
        raise ClipFault(Reason.FRAME_COUNT, f"{name}: {count + left} frames, not {len(due)}")
    return worst[0], worst[1]


def _labelled(pictures: Sequence[Picture], label: Overlay, probe: Probe) -> list[Picture]:
    steps = chroma_steps(probe.pix_fmt)
    chroma = [label.over(plane, chroma=True, steps=steps) for plane in pictures[1:]]
    return [label.over(pictures[0], chroma=False), *chroma]


def _inside(luma: Picture, label: Overlay) -> Picture:
    """The part of a luma plane that the label covers."""
    height, width = label.cover.shape
    return luma[label.y : label.y + height, label.x : label.x + width]


def _each_field(frames: Decoder, order: str) -> Iterator[tuple[Sequence[Plane], int]]:
    """The fields of every frame in order of time, with their parity."""
    first = 0 if order == "tff" else 1
    for frame in frames:
        for parity in (first, 1 - first):
            yield field_of(frame.planes, parity), parity


def _pictures(planes: Sequence[Plane], probe: Probe, matrix: int) -> list[Picture]:
    """Luma, and chroma if there is any, in limited range on the 8-bit scale."""
    if probe.pix_fmt.startswith("gbr"):
        scale = 1 / ((1 << probe.bit_depth) - 1)
        green, blue, red = (plane.astype(np.float32) * scale for plane in planes)
        for_red, for_blue = LUMA_WEIGHTS.get(matrix, BT601)
        luma = for_red * red + (1 - for_red - for_blue) * green + for_blue * blue
        chroma = [
            (colour - luma) / (2 - 2 * weight) * 224 + 128
            for colour, weight in ((blue, for_blue), (red, for_red))
        ]
        return [luma * 219 + 16, *chroma]
    unit = np.float32(1 << (probe.bit_depth - 8))
    eight = [plane.astype(np.float32) / unit for plane in planes]
    if is_full(probe):
        top = np.float32(((1 << probe.bit_depth) - 1) / unit)
        eight[0] = eight[0] * (219 / top) + 16
        eight[1:] = [(plane - 128) * (224 / top) + 128 for plane in eight[1:]]
    return eight


def _distances(before: Sequence[Picture], after: Sequence[Picture]) -> tuple[float, float]:
    """PSNR in dB of luma, and the lower PSNR of the chroma planes."""
    chroma = [_small(a, b) for a, b in zip(before[1:], after[1:], strict=False)]
    return _psnr(before[0], after[0]), min((_psnr(*pair) for pair in chroma), default=BEST_DB)


def _small(one: Picture, other: Picture) -> tuple[Picture, Picture]:
    rows, columns = (
        max(1, min(sizes) // CHROMA_SHARE) for sizes in zip(one.shape, other.shape, strict=True)
    )
    size = (columns, rows)
    return tuple(cv2.resize(p, size, interpolation=cv2.INTER_AREA) for p in (one, other))


def _psnr(one: Picture, other: Picture) -> float:
    error = float(np.square(one - other).mean())
    return min(BEST_DB, float(10 * np.log10(255**2 / error))) if error else BEST_DB


def _check_declared(form: Form, name: str, source: Probe, found: Probe, order: str) -> None:
    """Compare the declared values of the derived file with those it should have."""
    per_frame = frames_of(form, order)
    kept = order if per_frame == 1 else "progressive"
    wanted: Mapping[str, tuple[object, object]] = {
        "codec": (form.decoded_as, found.codec),
        "pixel format": (form.pix_fmt, found.pix_fmt),
        "size": ((source.width, source.height), (found.width, found.height)),
        "scan": (kept, SCAN_OF[found.field_order]),
        "rotation and mirroring": (source.display, found.display),
        "timecode": (timecode_for(source.timecode, per_frame), found.timecode),
        "chapters": (0 if "chapters" in form.loses else source.chapters, found.chapters),
    }
    for what, (expected, got) in wanted.items():
        if what == "timecode" and expected is None:
            continue  # MXF always states a timecode
        if expected != got:
            raise mismatch(name, f"{what} is {got}, not {expected}")
    if abs(found.sar / source.sar - 1) > DERIVED_RATIO_TOLERANCE:
        raise mismatch(name, f"sample aspect ratio is {found.sar}, not {source.sar}")
    rate = standard_rate(source.fps) * per_frame
    if form.varying == "refused" and found.fps != rate:
        raise mismatch(name, f"frame rate is {found.fps}, not {rate}")
    _check_colour(form, name, source, found)


def _check_colour(form: Form, name: str, source: Probe, found: Probe) -> None:
    if (source.color_range or is_full(source)) and found.color_range != LIMITED:
        raise mismatch(name, f"range is {colour_name('range', found.color_range)}, not limited")
    pairs: dict[ColourKind, tuple[int, int, set[int]]] = {
        "primaries": (source.color_primaries, found.color_primaries, set[int]()),
        "transfer": (source.color_trc, found.color_trc, SAME_CURVE),
        "matrix": (matrix_for(source), found.colorspace, SAME_MATRIX),
    }
    for what, (wanted, got, same) in pairs.items():
        # DNxHR always states a matrix
        untagged = wanted == UNSPECIFIED and got == 1 and form.codec == "dnxhd"
        if wanted != got and not {wanted, got} <= same and not untagged:
            names = colour_name(what, got), colour_name(what, wanted)
            raise mismatch(name, f"colour {what} is {names[0]}, not {names[1]}")


def _check_streams(
    form: Form,
    name: str,
    found: Sequence[StreamHash],
    masters: Sequence[StreamHash],
    streams: Sequence[CarriedStream],
) -> None:
    """Compare every carried stream with what was written, and copied sound with the master's."""
    original = {stream.index: stream for stream in masters}
    sounds = [stream for stream in found if stream.kind == "audio"]
    carried = [stream for stream in streams if stream.kind == "audio"]
    if len(sounds) != len(carried):
        raise mismatch(name, f"{len(sounds)} sound tracks, not {len(carried)}")
    for stream, got in zip(carried, sounds, strict=True):
        what, source = f"sound track {stream.index} ({stream.codec})", original[stream.index]
        if got.sha256 != stream.sha256:
            raise mismatch(name, f"the packets of {what} are not those written")
        if stream.action == "kept" and source.sha256 != stream.sha256:
            raise mismatch(name, f"the packets of {what} are not the master's")
        late = _late(got, source)
        if form.container != "mxf" and abs(late) > DERIVED_SYNC_SECONDS:
            raise mismatch(name, f"{what} is {1000 * late:.1f} ms late")
    texts = {stream.sha256 for stream in found}
    for stream in streams:
        if stream.kind == "subtitle" and stream.action != "dropped" and stream.sha256 not in texts:
            raise mismatch(name, f"the texts of stream {stream.index} are not those written")


def _late(got: StreamHash, source: StreamHash) -> float:
    if got.start_seconds is None or source.start_seconds is None:
        return 0.0
    return got.start_seconds - source.start_seconds
