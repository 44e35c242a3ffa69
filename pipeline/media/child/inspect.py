"""Read the facts of a file that the rules of a policy check. Nothing is decoded.

Started by `pipeline.media.policy`, as a job of `launch`. `pipeline.media.facts` lists the facts.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import av
from av.container import InputContainer

from pipeline.clip.scan import SCAN_OF
from pipeline.media.child.probe import main_video, open_source, probe_container
from pipeline.media.child.runtime import Output, limit_self
from pipeline.media.wire import ALIVE, END, PACKETS_PER_ALIVE, Request
from schemas.recipe import Limits

# Facts that are fields of the probe.
OF_PROBE = (
    "codec", "pix_fmt", "bit_depth", "width", "height", "rotation", "color_range",
    "color_primaries", "color_trc", "colorspace",
)  # fmt: skip


def facts_of(path: str, limits: Limits, output: Output) -> dict[str, Any]:
    """Every fact of `pipeline.media.facts.FACTS` that the file has."""
    container = open_source(path, limits)
    video = main_video(container)
    probe = probe_container(container, video, limits)
    context = video.codec_context
    sounds = [cast(Any, stream.codec_context) for stream in container.streams.audio]
    facts: dict[str, Any] = {
        "container": container.format.name,
        "brand": container.metadata.get("major_brand", "").strip() or None,
        "index_first": _index_first(Path(path)),
        "size_bytes": Path(path).stat().st_size,
        "chapters": probe.chapters,
        "timecode": probe.timecode,
        "video.streams": len(container.streams.video),
        "video.profile": context.profile,
        "video.header_bytes": len(context.extradata or b""),
        "video.fps": round(float(probe.fps), 3),
        "video.sar": round(float(probe.sar), 5),
        "video.scan": SCAN_OF[probe.field_order],
        "audio.codecs": list(probe.audio),
        "audio.rates": [sound.sample_rate for sound in sounds],
        "audio.channels": [sound.channels for sound in sounds],
        "subtitles.codecs": list(probe.subtitles),
    }
    facts |= {f"video.{name}": getattr(probe, name) for name in OF_PROBE}
    facts |= {f"tags.{name}": value for name, value in container.metadata.items()}
    facts["video.key_frames_only"] = _key_frames_only(container, output)
    return {name: value for name, value in facts.items() if value is not None}


def _key_frames_only(container: InputContainer, output: Output) -> bool:
    for number, packet in enumerate(container.demux(main_video(container))):
        if packet.size and not packet.is_keyframe:
            return False
        if number % PACKETS_PER_ALIVE == 0:
            output.send_json(ALIVE, {})
    return True


def _index_first(path: Path) -> bool | None:
    """Whether the box `moov` comes before `mdat`. None if the file has no boxes."""
    with path.open("rb") as stream:
        while len(head := stream.read(16)) == 16:
            size, kind = int.from_bytes(head[:4], "big"), head[4:8]
            if kind in (b"moov", b"mdat"):
                return kind == b"moov"
            size = int.from_bytes(head[8:], "big") if size == 1 else size
            if size < 8 or not kind.isalnum():
                return None
            stream.seek(size - 16, 1)
    return None


def inspect(request: Request, output: Output) -> None:
    """Send the facts of the file. Raises `ClipFault` if it cannot be read."""
    limits = Limits(**request["limits"])
    limit_self(limits)
    av.logging.set_level(av.logging.ERROR)
    output.send_json(END, facts_of(request["path"], limits, output))


WORK = inspect
