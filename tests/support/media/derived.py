"""A PAL master with everything that a derived file can hold, and its timestamps."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

from pipeline.clip.frames import Probe, to_ms
from pipeline.media.decoder import Decoder
from schemas.recipe import Limits
from tests.support.media.media_factory import Clip, Sound, write_clip

LIMITS = Limits()
PAL = Clip(
    pix_fmt="yuv422p10le",
    width=128,
    height=96,
    frames=9,
    scan="tff",
    field_order=2,
    sar=Fraction(16, 15),
    colour=(1, 5, 6, 5),
    sounds=(
        Sound("pcm_s24le", 1, tags={"language": "ger", "title": "Ton"}),
        Sound("flac", 2, tags={"language": "eng"}),
    ),
    captions=[(80, 120, "Erste Zeile"), (240, 100, "Zweite")],
    chapters=[(0, 200, "Eins"), (200, 360, "Zwei")],
    attachments=[("notes.txt", "text/plain", b"from the can")],
    tags={"title": "Film"},
    video_tags={"timecode": "10:00:00:12"},
)


def master(folder: Path, clip: Clip) -> tuple[Path, Probe, list[int]]:
    path = folder / "clip_rst.mkv"
    write_clip(path, clip)
    with Decoder(path, LIMITS) as decoder:
        return path, decoder.probe, [to_ms(f.pts, decoder.probe.time_base) for f in decoder]
