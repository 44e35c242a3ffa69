"""What the parent and its child processes send each other: requests, records, frame headers.

A request is one JSON object. A record is one byte of kind, four bytes of size, and the payload.
"""

from __future__ import annotations

import struct
from typing import Any, TypedDict

RECORD = struct.Struct("<cI")  # kind, size of the payload in bytes
# Kinds of records. All but FRAME carry JSON.
PROBE = b"P"  # what the file declares
FRAME = b"F"  # FRAME_HEADER, then the planes
ALIVE = b"K"  # sign of life of a child that sends no frames
END = b"E"  # the last record: the result
FAULT = b"X"  # a `ClipFault`, with reason and sentence
FRAME_HEADER = struct.Struct("<qI")  # pts, CRC-32 of the planes
# Packets between two signs of life.
PACKETS_PER_ALIVE = 500


class Request(TypedDict):
    """What every child needs: a file to read, and `schemas.recipe.Limits` as a dict."""

    path: str
    limits: dict[str, Any]


class DecodeRequest(Request):
    """For `child.decode`. `count` 0 asks for the probe only, None for all frames."""

    start_pts: int | None
    count: int | None
    threads: int  # for the slices of a picture; the child takes more for a large one
    conversion: dict[str, Any] | None


class MuxRequest(Request):
    """For `child.mux`: `work` is assemble or hash."""

    work: str


class AssembleRequest(MuxRequest):
    """Join segments and the other streams of the file at `path` into the file `out`."""

    segments: list[str]
    probe: dict[str, object]
    pts: list[int]
    out: str
    tags: dict[str, str]
    dropped: list[str]  # tags of the source that are not carried
    max_bytes: int


class DeriveRequest(Request):
    """For `child.derive`: make the file `out` of a profile from the master at `path`."""

    out: str
    profile: str
    probe: dict[str, object]
    order: str
    times_ms: list[int]
    frames: int  # of the derived file
    regular: bool  # all frames last equally long
    max_bytes: int
    label: dict[str, Any] | None  # a `pipeline.media.planes.Overlay` to draw into every picture
