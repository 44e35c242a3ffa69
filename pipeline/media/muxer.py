"""Assemble an output file, and hash the streams of a file, in a child process, `child.mux`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path

from pipeline.clip.frames import AssemblyReport, CarriedStream, Probe, StreamHash
from pipeline.media.sandbox import ask
from pipeline.media.wire import AssembleRequest, MuxRequest
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
    dropped: Sequence[str] = (),
) -> AssemblyReport:
    """Join segments and the other streams of the source into the Matroska file `out`.

    `pts`: the source's timestamps, one per frame, in `probe.time_base`. They are rounded to
    Matroska's 1 ms. Sound, subtitles, attachments, chapters and tags of the source are carried
    over. `tags` are added; a tag whose name the source uses gets another name. Tags of the source
    that are `dropped` are not carried. Raises `ClipFault`; then `out` does not exist.
    """
    files = [*segments, source]
    request: AssembleRequest = {
        "work": "assemble",
        "path": str(source.resolve()),
        "segments": [str(segment.resolve()) for segment in segments],
        "probe": probe.to_dict(),
        "pts": list(pts),
        "out": str(out.resolve()),
        "tags": dict(tags),
        "dropped": list(dropped),
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
    """The payload hash of every stream but the main picture. Raises `ClipFault`."""
    request: MuxRequest = {
        "work": "hash",
        "path": str(path.resolve()),
        "limits": asdict(limits),
    }
    names = [field.name for field in fields(StreamHash)]
    streams = ask("pipeline.media.child.mux", request, limits)["streams"]
    return [StreamHash(**{name: stream[name] for name in names}) for stream in streams]
