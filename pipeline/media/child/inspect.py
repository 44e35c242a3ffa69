"""What a file says of itself, for rules to judge, in a limited child: nothing is decoded.

Run as `python -m pipeline.media.child.inspect REQUEST`; only `pipeline.media.policy` starts it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import av
from av.container import InputContainer

from pipeline.clip.scan import SCAN_OF
from pipeline.media.child.packets import PULSE
from pipeline.media.child.probe import main_video, open_source, probe_container
from pipeline.media.sandbox import Output, limit_self, run_child
from schemas.recipe import Limits

# What rules may name; docs/formats.md is generated from this.
FIELDS = {
    "container": "names of the container, as FFmpeg has them",
    "brand": "QuickTime's and MP4's major brand",
    "index_first": "whether QuickTime's or MP4's index lies before the pictures",
    "size_bytes": "size of the file",
    "chapters": "number of chapters",
    "timecode": "timecode of the start",
    "tags.NAME": "the file's own tag of that name",
    "video.streams": "number of picture streams",
    "video.codec": "codec, as FFmpeg names it",
    "video.profile": "profile of the codec",
    "video.header_bytes": "size of the codec's header; FFV1 has one from version 3 on",
    "video.pix_fmt": "pixel format, as FFmpeg names it",
    "video.bit_depth": "bits of a sample",
    "video.width": "samples in a line",
    "video.height": "lines",
    "video.fps": "frames a second",
    "video.sar": "width of a sample divided by its height",
    "video.scan": "progressive, tff, bff or unknown",
    "video.rotation": "degrees",
    "video.color_range": "0 unspecified, 1 limited, 2 full",
    "video.color_primaries": "code point of ITU-T H.273",
    "video.color_trc": "code point of ITU-T H.273",
    "video.colorspace": "code point of ITU-T H.273",
    "video.key_frames_only": "whether every frame is a key frame",
    "audio.codecs": "list: the codec of each sound track",
    "audio.rates": "list: samples a second of each sound track",
    "audio.channels": "list: channels of each sound track",
    "subtitles.codecs": "list: the codec of each subtitle stream",
}


def facts_of(path: str, limits: Limits, output: Output) -> dict[str, Any]:
    """Every field of FIELDS that the file has."""
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
    same = ("codec", "pix_fmt", "bit_depth", "width", "height", "rotation", "color_range",
            "color_primaries", "color_trc", "colorspace")  # fmt: skip
    facts |= {f"video.{name}": getattr(probe, name) for name in same}
    facts |= {f"tags.{name}": value for name, value in container.metadata.items()}
    facts["video.key_frames_only"] = _key_frames_only(container, output)
    return {name: value for name, value in facts.items() if value is not None}


def _key_frames_only(container: InputContainer, output: Output) -> bool:
    for number, packet in enumerate(container.demux(main_video(container))):
        if packet.size and not packet.is_keyframe:
            return False
        if number % PULSE == 0:
            output.send_json(b"K", {})
    return True


def _index_first(path: Path) -> bool | None:
    """Whether the box `moov` comes before `mdat`; None for what has no boxes."""
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


def tell(request: dict[str, Any], output: Output) -> None:
    """The child's work for `pipeline.media.policy.check_file`."""
    limits = Limits(**request["limits"])
    limit_self(limits)
    av.logging.set_level(av.logging.ERROR)
    output.send_json(b"E", facts_of(request["path"], limits, output))


if __name__ == "__main__":
    run_child(tell)
