"""The facts of a file that the rules of a policy may name.

`pipeline.media.child.inspect` reads them; `docs/formats.md` is generated from this table.
"""

from __future__ import annotations

FACTS = {
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
