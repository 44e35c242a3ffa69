"""The parent's side of muxing: an output file, and hashes of all but the picture."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from pipeline.clip.frames import AssemblyReport, CarriedStream, Probe, StreamHash
from pipeline.media.sandbox import Child
from schemas.recipe import Limits

# Room for headers, tags and the index of an output.
SLACK_BYTES = 64 << 20


def assemble(
    segments: Sequence[Path],
    source: Path,
    probe: Probe,
    pts: Sequence[int],
    out: Path,
    tags: Mapping[str, str],
    limits: Limits,
) -> AssemblyReport:
    """Joins segments and the source's other streams into a Matroska file, in a limited child
    process.

    `pts` are the source's, one per frame, in `probe.time_base`; they are kept, rounded to
    Matroska's 1 ms. Sound, subtitles, attachments, chapters and tags are carried over, and `tags`
    added, under other names where the source has tags of these. Raises `ClipFault`; then `out` does
    not exist.
    """
    files = [*segments, source]
    request = {
        "work": "assemble",
        "path": str(source.resolve()),
        "segments": [str(segment.resolve()) for segment in segments],
        "probe": probe.to_dict(),
        "pts": list(pts),
        "out": str(out.resolve()),
        "tags": dict(tags),
        "max_bytes": 2 * sum(file.stat().st_size for file in files if file.is_file()) + SLACK_BYTES,
        "limits": asdict(limits),
    }
    try:
        report = ask("pipeline.media.child.mux", request, limits)
    except BaseException:
        out.unlink(missing_ok=True)
        raise
    streams = tuple(CarriedStream(**stream) for stream in report["streams"])
    return AssemblyReport(report["shift_ms"], streams, report["tags"])


def stream_hashes(path: Path, limits: Limits) -> list[StreamHash]:
    """The payload hashes of every stream but the main picture, read by a limited child process."""
    request = {"work": "hash", "path": str(path.resolve()), "limits": asdict(limits)}
    names = [field.name for field in fields(StreamHash)]
    streams = ask("pipeline.media.child.mux", request, limits)["streams"]
    return [StreamHash(**{name: stream[name] for name in names}) for stream in streams]


def ask(module: str, request: Mapping[str, object], limits: Limits) -> dict[str, Any]:
    """The last record of a child that sends signs of life until it is done."""
    with Child(module, request, limits) as child:
        while True:
            kind, payload = child.record(0)
            if kind == b"E":
                return dict(json.loads(payload))
