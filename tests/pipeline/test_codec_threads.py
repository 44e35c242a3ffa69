"""Beside a GPU, decoder and encoder have several threads, and the file stays the same."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from pipeline import restore
from pipeline.clip.frames import Probe
from pipeline.clip.shards import plan_shards
from pipeline.media.child.decode import LARGE_THREADS, _Decoding
from pipeline.media.child.runtime import MAX_THREADS
from pipeline.media.decoder import Decoder
from pipeline.media.segments import SegmentWriter
from pipeline.restore import CODEC_THREADS, ShardRestorer
from pipeline.survey import survey_clip
from schemas.recipe import Recipe
from tests.support.media.decoding import LIMITS
from tests.support.media.media_factory import Clip, write_clip
from tests.support.media.probes import PROBE
from tests.support.studio import clip_of


def test_the_codecs_get_threads_beside_a_gpu_and_write_the_same_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[int] = []

    class Watched(SegmentWriter):
        def __init__(self, *args: object) -> None:
            super().__init__(*args)  # type: ignore[arg-type]
            given.append(self._stream.codec_context.thread_count)

    class WatchedDecoder(Decoder):
        def __init__(self, *args: object, **options: object) -> None:
            super().__init__(*args, **options)  # type: ignore[arg-type]
            given.append(self.threads)

    monkeypatch.setattr(restore, "SegmentWriter", Watched)
    monkeypatch.setattr(restore, "Decoder", WatchedDecoder)
    path, recipe = tmp_path / "c.mkv", Recipe(model="fast", strength=0.0)
    write_clip(path, Clip(frames=4, width=320, height=240))
    survey = survey_clip(clip_of(path), recipe, tmp_path)
    restorer, (shard,) = ShardRestorer(recipe, 1), plan_shards(survey.shots, 120)

    def made(name: str) -> bytes:
        restorer.restore(path, survey, shard, tmp_path / name)
        return (tmp_path / name).read_bytes()

    alone = made("alone.mkv")
    monkeypatch.setattr(ShardRestorer, "on_gpu", True)
    assert made("beside.mkv") == alone
    assert sorted(given) == [1, 1, CODEC_THREADS, CODEC_THREADS]


def test_a_child_decodes_with_no_more_threads_than_its_limits_count_on() -> None:
    def threads(asked: int, probe: Probe) -> int:
        return _Decoding([], LIMITS, probe, asked).threads

    large = replace(PROBE, width=3840, height=2160)
    assert [threads(asked, PROBE) for asked in (1, 3, 500)] == [1, 3, MAX_THREADS]
    assert threads(1, large) == LARGE_THREADS
    assert CODEC_THREADS <= MAX_THREADS
