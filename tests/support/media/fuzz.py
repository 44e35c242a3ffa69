"""Mutated media through the decoding child; `make fuzz` prints the results of 10,000 files.

Every file is made from a seed: `python -m tests.support.media.fuzz --case 1234 FOLDER` makes one of
them again.
"""

from __future__ import annotations

import multiprocessing
import os
import random
import re
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jobs.console.output import say
from pipeline.media.decoder import Decoder
from pipeline.media.launcher import ENDED
from schemas.errors import ClipFault
from schemas.recipe import Limits
from tests.support.media.media_factory import H264, Clip, Sound, write_clip

LIMITS = Limits(max_pixels=4_000_000, max_frames=2000, wall_seconds=60, address_space_mb=1536)
AT_ONCE = 2
HEADER_BYTES = 2048  # half of the mutations fall here; headers are at the start or end
DV = {"width": 720, "height": 576, "coded": "yuv420p", "options": {}, "frames": 2}
PCM = (Sound("pcm_s16le"),)
SIX: dict[str, Any] = {"frames": 6, "options": {}}
FAST_VPX = {"deadline": "realtime", "cpu-used": "8"}
# name -> clip; a pattern is an image sequence
SEEDS = {
    "ffv1.mkv": Clip(frames=6, sounds=PCM),
    "deep.mkv": Clip(frames=6, pix_fmt="yuv422p10le"),
    "h264.mp4": Clip(frames=8, **H264),
    "h264.ts": Clip(frames=8, **H264),
    "mpeg2.mpg": Clip(codec="mpeg2video", frames=6, options={}),
    "mpeg2.mxf": Clip(codec="mpeg2video", frames=6, options={}),
    "dv.dv": Clip(codec="dvvideo", **DV),
    "dv.mov": Clip(codec="dvvideo", **DV),
    "prores.mov": Clip(codec="prores_ks", pix_fmt="yuv422p10le", frames=5, options={}, sounds=PCM),
    "mpeg4.avi": Clip(codec="mpeg4", frames=8, options={}, sounds=PCM),
    "mjpeg.avi": Clip(codec="mjpeg", coded="yuvj420p", frames=5, options={}),
    "dpx%04d.dpx": Clip(codec="dpx", pix_fmt="gbrp", coded="rgb24", frames=3, options={}),
    "png%04d.png": Clip(codec="png", pix_fmt="gbrp", coded="rgb24", frames=3, options={}),
    "tiff%04d.tiff": Clip(codec="tiff", pix_fmt="gbrp", coded="rgb24", frames=3, options={}),
    "v210.mov": Clip(codec="v210", pix_fmt="yuv422p10le", **SIX),
    "uyvy.mov": Clip(codec="rawvideo", pix_fmt="yuv422p", coded="uyvy422", **SIX),
    "qtrle.mov": Clip(codec="qtrle", pix_fmt="gbrp", coded="rgb24", **SIX),
    "cfhd.mov": Clip(codec="cfhd", pix_fmt="yuv422p10le", **SIX),
    "svq1.mov": Clip(codec="svq1", pix_fmt="yuv410p", **SIX),
    "dnxhr.mxf": Clip(codec="dnxhd", pix_fmt="yuv422p", width=256, height=120, frames=3,
        options={"profile": "dnxhr_hq"}),
    "jpeg2000.mxf": Clip(codec="jpeg2000", pix_fmt="yuv422p10le", frames=3, options={"pred": "1"}),
    "utvideo.avi": Clip(codec="utvideo", pix_fmt="yuv422p", **SIX),
    "huffyuv.avi": Clip(codec="huffyuv", pix_fmt="yuv422p", **SIX),
    "cinepak.avi": Clip(codec="cinepak", pix_fmt="gbrp", coded="rgb24", **SIX),
    "h263.avi": Clip(codec="h263p", **SIX),
    "h265.mkv": Clip(codec="libx265", frames=6,
        options={"preset": "ultrafast", "x265-params": "log-level=none"}),
    "av1.mkv": Clip(codec="libsvtav1", frames=4, options={"preset": "11"}),
    "vp9.webm": Clip(codec="libvpx-vp9", frames=6, options=FAST_VPX),
    "vp8.ivf": Clip(codec="libvpx", frames=6, options=FAST_VPX),
    "wmv2.asf": Clip(codec="wmv2", **SIX),
    "flv1.flv": Clip(codec="flv", **SIX),
    "raw.nut": Clip(codec="rawvideo", **SIX),
    "raw.y4m": Clip(codec="wrapped_avframe", **SIX),
    "mpeg2.m2v": Clip(codec="mpeg2video", **SIX),
    "mpeg2.vob": Clip(codec="mpeg2video", sounds=(Sound("ac3"),), **SIX),
    "h264.h264": Clip(frames=8, **H264),
}  # fmt: skip
# Where a box, chunk, element or packet of a format begins; its size stands before an ISO box.
MARKS = re.compile(
    rb"(?s)....(?:ftyp|moov|mvhd|trak|tkhd|mdia|mdhd|minf|stbl|stsd|stts|stsc|stsz|stco|mdat)"
    rb"|LIST|strh|strf|movi|idx1|0[01](?:dc|wb)"
    rb"|\x1a\x45\xdf\xa3|\x15\x49\xa9\x66|\x16\x54\xae\x6b|\x1f\x43\xb6\x75|\x1c\x53\xbb\x6b"
    rb"|\x06\x0e\x2b\x34|\x00\x00\x01[\x00\xb0-\xff]|OggS|FRAME\n|IHDR|IDAT|PLTE"
)
BIG = (b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\x00\x10\x00\x00", b"\x00\x00\xff\xff")


@dataclass(frozen=True)
class FuzzEnd:
    """The result for one file: a reason code, or that it was decoded completely."""

    seed: str
    mutation: str
    end: str
    sentence: str
    seconds: float
    peak_mib: float  # of the largest child so far
    parent_mib: float  # of the process that reads the decoder's frames


def _place(rng: random.Random, size: int) -> int:
    side = rng.random()
    if side < 0.35:
        return rng.randrange(min(HEADER_BYTES, size))
    if side < 0.5:
        return size - 1 - rng.randrange(min(HEADER_BYTES, size))
    return rng.randrange(size)


def flip(data: bytearray, rng: random.Random) -> None:
    """Flip 1 to 64 bits."""
    for _ in range(1 << rng.randrange(7)):
        data[_place(rng, len(data))] ^= 1 << rng.randrange(8)


def truncate(data: bytearray, rng: random.Random) -> None:
    """Truncate at any byte."""
    del data[rng.randrange(len(data)) :]


def swap(data: bytearray, rng: random.Random) -> None:
    """Swap two chunks."""
    size = max(1, min(len(data) // 4, 1 << rng.randrange(3, 13)))
    a, b = (rng.randrange(len(data) - size + 1) for _ in range(2))
    data[a : a + size], data[b : b + size] = data[b : b + size], data[a : a + size]


def grow(data: bytearray, rng: random.Random) -> None:
    """Set a length field to a huge value."""
    for _ in range(rng.randrange(1, 4)):
        at, value = _place(rng, len(data)), rng.choice(BIG)
        value = value[::-1] if rng.random() < 0.5 else value
        data[at : at + len(value)] = value


def repeat(data: bytearray, rng: random.Random) -> None:
    """Repeat a chunk."""
    size = 1 << rng.randrange(2, 14)
    at = _place(rng, len(data))
    data[at:at] = data[at : at + size]


def drop(data: bytearray, rng: random.Random) -> None:
    """Remove a chunk, like a lost block."""
    at = _place(rng, len(data))
    del data[at : at + (1 << rng.randrange(0, 13))]


def blank(data: bytearray, rng: random.Random) -> None:
    """Overwrite a chunk with zeros, like a bad sector."""
    at = _place(rng, len(data))
    size = min(1 << rng.randrange(4, 13), len(data) - at)
    data[at : at + size] = bytes(size)


def noise(data: bytearray, rng: random.Random) -> None:
    """Insert random bytes."""
    at = _place(rng, len(data))
    data[at:at] = rng.randbytes(1 << rng.randrange(0, 11))


def exchange(data: bytearray, rng: random.Random) -> None:
    """Exchange two boxes, chunks, elements or packets of the format, of any size."""
    edges = [0, *(match.start() for match in MARKS.finditer(data)), len(data)]
    if len(edges) < 4:
        swap(data, rng)
        return
    first, second = sorted(rng.sample(range(len(edges) - 1), 2))
    a, b, c, d = edges[first], edges[first + 1], edges[second], edges[second + 1]
    data[a:d] = data[c:d] + data[b:c] + data[a:b]


MUTATIONS: Sequence[Callable[[bytearray, random.Random], None]] = (
    *(flip, truncate, swap, grow, repeat, drop, blank, noise, exchange),
)


def write_seeds(folder: Path) -> None:
    """The intact files that are mutated."""
    os.environ["SVT_LOG"] = "-1"  # the encoder of AV1 is quiet
    for name, clip in SEEDS.items():
        write_clip(folder / name, clip)


def mutated(seeds: Path, case: int, folder: Path) -> tuple[Path, str, str]:
    """The file of a case, its original, and its mutation."""
    name = list(SEEDS)[case % len(SEEDS)]
    mutation = MUTATIONS[case // len(SEEDS) % len(MUTATIONS)]
    victim = path = folder / name
    if "%" in name:
        for member in sorted(seeds.glob(name.replace("%04d", "*"))):
            shutil.copy(member, folder)
        victim = folder / (name % 2)
    else:
        shutil.copy(seeds / name, path)
    data = bytearray(victim.read_bytes())
    mutation(data, random.Random(case))
    victim.write_bytes(data)
    return path, name, mutation.__name__


def own_peak_mib() -> float:
    """The peak memory of this process. `getrusage` counts the process it was forked from, too."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def tried(seeds: Path, case: int) -> FuzzEnd:
    """Decode the file of one case, as a survey does. Raises everything but `ClipFault`."""
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        path, name, mutation = mutated(seeds, case, Path(folder))
        started, sentence = time.monotonic(), ""
        try:
            with Decoder(path, LIMITS) as decoder:
                sentence = f"{sum(1 for _ in decoder)} frames"
            end = "decoded"
        except ClipFault as fault:
            end, sentence = str(fault.reason), fault.sentence
        seconds = time.monotonic() - started
        peak = ENDED.peak_kib / 1024
        return FuzzEnd(name, mutation, end, sentence, seconds, peak, own_peak_mib())


def fuzz(count: int) -> list[FuzzEnd]:
    """The results of all cases, in order. Several run in parallel."""
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory(prefix="seeds-") as folder:
        write_seeds(Path(folder))
        with context.Pool(AT_ONCE) as pool:
            cases = ((Path(folder), case) for case in range(count))
            return pool.starmap(tried, cases, chunksize=1)


def table(outcomes: Sequence[FuzzEnd]) -> str:
    """The results by original file, as a Markdown table."""
    ends = [end for end, _ in Counter(o.end for o in outcomes).most_common()]
    lines = [f"| made from | {' | '.join(ends)} |", "|---" + "|--:" * len(ends) + "|"]
    for name in [*SEEDS, "all"]:
        found = Counter(o.end for o in outcomes if name in (o.seed, "all"))
        lines.append(f"| {name} | {' | '.join(str(found[end] or '') for end in ends)} |")
    return "\n".join(lines)


def main() -> None:
    """Run the command."""
    if sys.argv[1] == "--case":
        folder = Path(sys.argv[3])
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="seeds-") as seeds:
            write_seeds(Path(seeds))
            say(str(mutated(Path(seeds), int(sys.argv[2]), folder)[0]))
        return
    outcomes = fuzz(int(sys.argv[1]))
    say(table(outcomes))
    slowest, peak = max(o.seconds for o in outcomes), max(o.peak_mib for o in outcomes)
    own = max(o.parent_mib for o in outcomes)
    say(f"\n{len(outcomes)} files of {len(SEEDS)} formats, {len(MUTATIONS)} mutations")
    say(f"slowest {slowest:.1f} s, largest child {peak:.0f} MiB, largest parent {own:.0f} MiB")
    for case, outcome in enumerate(outcomes):
        if outcome.end in ("INTERNAL", "DECODER_CRASH", "DECODER_TIMEOUT", "MEDIA_BOMB"):
            say(f"{case}: {outcome.seed} {outcome.mutation}: {outcome.end}: {outcome.sentence}")


if __name__ == "__main__":
    main()
