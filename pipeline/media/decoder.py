"""Read the frames of an untrusted file from a child process, `child.decode`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from pipeline.clip.conversion import Conversion
from pipeline.clip.frames import Frame, Probe
from pipeline.media.faults import check_decoding, describe
from pipeline.media.planes import plane_layout, split_planes
from pipeline.media.sandbox import Child
from pipeline.media.wire import END, FRAME_HEADER, DecodeRequest
from pipeline.sources.sequence import is_sequence
from schemas.errors import ClipFault
from schemas.reasons import Reason
from schemas.recipe import Limits


class Decoder:
    """Iterates over the frames of a file in presentation order. A limited child process decodes.

    Raises `ClipFault` on entering (declared values), while iterating (crash, hang, limits) and
    after the last frame (damage that the decoder reported, missing frames).

    `start_pts` begins at the frame with this timestamp and numbers it `start_index`. It may seek,
    so compare checksums with the survey. `count` stops after this many frames, without the checks
    at the end. A `conversion` yields the converted frames; `probe` stays that of the file, and
    `start_pts` is a timestamp of the source. `threads` decode the slices of a picture.
    """

    def __init__(
        self,
        path: str | Path,
        limits: Limits,
        start_pts: int | None = None,
        start_index: int = 0,
        count: int | None = None,
        conversion: Conversion | None = None,
        threads: int = 1,
    ) -> None:
        self.path = Path(path).resolve()
        self.limits = limits
        self.start_pts, self.start_index, self.count = start_pts, start_index, count
        self.conversion, self.threads = conversion, threads
        self.messages: list[str] = []
        self.facts: dict[str, Any] = {}
        self._probe: Probe | None = None
        self._child: Child | None = None

    @property
    def probe(self) -> Probe:
        """What the file declares. Available once the decoder is entered."""
        assert self._probe is not None, "the decoder has not been entered"
        return self._probe

    def __enter__(self) -> Self:
        if not (is_sequence(self.path) or self.path.is_file()):
            raise ClipFault(Reason.NOT_FOUND, f"{self.path.name}: no such file")
        request: DecodeRequest = {
            "path": str(self.path),
            "limits": asdict(self.limits),
            "start_pts": self.start_pts,
            "count": self.count,
            "threads": self.threads,
            "conversion": asdict(self.conversion) if self.conversion else None,
        }
        self._child = Child("pipeline.media.child.decode", request, self.limits)
        try:
            _, payload = self._child.record(0)
            self._probe = self._checked(self._child.parsed(payload))
        except BaseException:
            self._child.close()
            raise
        return self

    def _checked(self, values: dict[str, Any]) -> Probe:
        """What the child says that the file declares. Its limits are held here once more.

        Raises `ClipFault` if hostile code could take this process's memory by it.
        """
        assert self._child is not None
        try:
            probe = Probe.from_dict(values)
        except (KeyError, TypeError, ValueError, OverflowError):
            raise self._child.nonsense("a probe that is none") from None
        if not 0 < probe.width * probe.height <= self.limits.max_pixels or probe.width < 0:
            raise self._child.nonsense(f"a picture of {probe.width}x{probe.height}")
        if min(probe.fps, probe.time_base) <= 0:
            raise self._child.nonsense("a probe that is none")
        return probe

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._child is not None:
            self._child.close()

    def __iter__(self) -> Iterator[Frame]:
        child, probe = self._child, self.probe
        assert child is not None
        layout = plane_layout(probe.pix_fmt, probe.width, probe.height)
        most = self.limits.max_frames * (2 if self.conversion else 1)  # a frame has two fields
        for index in count(self.start_index):
            kind, payload = child.record(FRAME_HEADER.size + layout.size_bytes)
            if kind == END:
                break
            if index - self.start_index >= most:
                raise child.nonsense(f"more than {most} frames")
            pts, checksum = FRAME_HEADER.unpack_from(payload)
            yield Frame(index, pts, split_planes(payload, layout, FRAME_HEADER.size), checksum)
        self.facts = child.parsed(payload)
        self.messages = [describe(message) for message in self.facts["messages"]]
        whole = self.start_pts is None and self.count is None
        check_decoding(self.path.name, probe, self.facts, whole)


def probe_file(path: str | Path, limits: Limits) -> Probe:
    """What a file declares, read by a limited child process. Raises `ClipFault`."""
    with Decoder(path, limits, count=0) as decoder:
        return decoder.probe
