"""The survey of a long clip takes no more memory than that of a short one."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import pytest

from pipeline import survey
from pipeline.clip.frames import Frame, Probe
from schemas.recipe import Limits
from tests.support.media.media_factory import Clip, write_clip

SETTLED, LAST = 40, 120  # frames after which memory is read
PER_FRAME_BYTES = 2048  # numbers about a frame: timestamp, checksum, scores, 16 levels


def test_a_frame_leaves_numbers_and_no_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_clip(tmp_path / "long.mkv", Clip(frames=LAST, width=160, height=96))
    held: list[int] = []
    add = survey._Pass._add

    def counted(self: survey._Pass, frame: Frame, probe: Probe) -> None:
        add(self, frame, probe)
        if len(self.pts) in (SETTLED, LAST):
            held.append(tracemalloc.get_traced_memory()[0])

    monkeypatch.setattr(survey._Pass, "_add", counted)
    tracemalloc.start()
    try:
        survey._Pass(tmp_path / "long.mkv", Limits())
    finally:
        tracemalloc.stop()
    assert (held[1] - held[0]) / (LAST - SETTLED) < PER_FRAME_BYTES
