"""The visible label stands upright in access copies, is neutral, and its absence is found."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from pipeline.clip.frames import UNIT, Probe
from pipeline.media import deriver
from pipeline.media.decoder import probe_file
from pipeline.media.deriver import derive
from pipeline.media.planes import Overlay
from pipeline.proof.label import label_of
from schemas.errors import ClipFault
from schemas.recipe import Limits
from tests.support.media.derived import LIMITS, PAL, master
from tests.support.media.media_factory import Clip
from tests.support.media.shown import ONE, TURNS

WORDS = "Digitally restored"
SMALL = Clip(frames=2, width=320, height=240)


def pictures(path: Path) -> Iterator[list[np.ndarray[Any, Any]]]:
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            whole = frame.to_ndarray().astype(np.int16)  # yuv420p: luma, then both chroma planes
            luma, chroma = whole[: frame.height], whole[frame.height :].ravel()
            yield [luma, *chroma.reshape(2, frame.height // 2, frame.width // 2)]


@pytest.mark.parametrize(
    ("clip", "order"),
    [
        (SMALL, "progressive"),
        (replace(PAL, width=360, height=288, frames=2, sounds=(), captions=[]), "tff"),
        (Clip(frames=1, width=640, height=360, pix_fmt="gbrp10le"), "progressive"),
    ],
)
def test_the_words_are_in_every_picture_and_nowhere_else(
    clip: Clip, order: str, tmp_path: Path
) -> None:
    path, _, times = master(tmp_path, clip)
    probe = probe_file(path, LIMITS)
    label, before = label_of(WORDS, probe), path.read_bytes()
    plain = derive("access", path, probe, order, times, tmp_path, LIMITS)
    without = list(pictures(plain.path))
    made = derive("access", path, probe, order, times, tmp_path, LIMITS, label)
    assert made.psnr_db > plain.psnr_db - 3
    height, width = label.cover.shape
    covered, white = label.cover > 250, label.ink > 250
    assert white.any() and 9 <= height <= clip.height / 8 and width < clip.width / 2
    labelled = list(pictures(made.path))
    assert len(labelled) == len(without) == made.frames
    for after, other in zip(labelled, without, strict=True):
        box = slice(label.y, label.y + height), slice(label.x, label.x + width)
        inside = after[0][box]
        assert np.abs(inside[white] - 235).mean() < 12
        assert np.abs(inside[covered & (label.ink == 0)] - 16).mean() < 12
        half = tuple(slice(part.start // 2, part.stop // 2) for part in box)
        hidden = covered.reshape(height // 2, 2, width // 2, 2).all(axis=(1, 3))
        for chroma in after[1:]:
            assert np.abs(chroma[half][hidden] - 128).mean() < 6
        elsewhere = np.abs(after[0] - other[0])
        elsewhere[box] = 0
        assert elsewhere.mean() < 1
    assert path.read_bytes() == before


@pytest.mark.parametrize("turn", TURNS)
def test_the_words_are_upright_as_the_picture_is_shown(turn: str, tmp_path: Path) -> None:
    a, b, _, c, d, *_ = TURNS[turn]
    _, probe, _ = master(tmp_path, replace(SMALL, frames=1))
    stored = replace(probe, display=tuple(value * UNIT // ONE for value in (a, b, c, d)))
    shown = as_shown(label_of(WORDS, stored), stored)
    size = {"height": shown.shape[0], "width": shown.shape[1]}
    plain = replace(probe, **size)
    assert np.array_equal(shown, as_shown(label_of(WORDS, plain), plain))
    assert shown.any() and np.argwhere(shown).min(axis=0)[0] > 0.8 * shown.shape[0]


def as_shown(label: Overlay, probe: Probe) -> np.ndarray[Any, Any]:
    """The whites of the label, put where the display matrix puts each sample."""
    turned = bool(probe.display) and probe.display[0] == 0
    size = (probe.width, probe.height) if turned else (probe.height, probe.width)
    a, b, c, d = (value // UNIT for value in probe.display) if probe.display else (1, 0, 0, 1)
    shown = np.zeros(size, np.uint8)
    for (row, column), ink in np.ndenumerate(label.ink):
        x, y = column + label.x, row + label.y
        # negative numbers count from the other edge, as a player moves the picture back into view
        shown[b * x + d * y + min(b + d, 0), a * x + c * y + min(a + c, 0)] = ink
    return shown


def test_the_words_are_as_wide_as_the_samples_are_narrow(tmp_path: Path) -> None:
    _, probe, _ = master(tmp_path, replace(SMALL, frames=1))
    wide = label_of(WORDS, replace(probe, sar=Fraction(2)))
    plain = label_of(WORDS, probe)
    assert abs(2 * wide.cover.shape[1] - plain.cover.shape[1]) <= 12
    assert abs(wide.cover.shape[0] - plain.cover.shape[0]) <= 4
    tiny = label_of("x" * 40, replace(probe, width=64, height=48))
    assert tiny.cover.shape[1] <= 64


def test_a_copy_without_its_label_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, _, times = master(tmp_path, SMALL)
    real = deriver.ask

    def without(module: str, request: Mapping[str, Any], limits: Limits) -> Any:
        return real(module, {**request, "label": None} if "label" in request else request, limits)

    monkeypatch.setattr(deriver, "ask", without)
    probe = probe_file(path, LIMITS)
    label = label_of(WORDS, probe)
    with pytest.raises(ClipFault, match="frame 0 does not show the label"):
        derive("access", path, probe, "progressive", times, tmp_path, LIMITS, label)
    assert not (tmp_path / "clip_rst_sc.mp4").exists()
