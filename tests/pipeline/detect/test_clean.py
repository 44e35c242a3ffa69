"""Clean shots: found on evidence only, and published bit for bit."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest

from models.motion.deflicker import region_levels
from pipeline.clip.shards import Shot
from pipeline.detect.clean import CleanMeter
from pipeline.media.decoder import Decoder
from pipeline.media.rgb import read_rgb, write_rgb
from schemas.recipe import Limits, Recipe
from tests.support.media.scenes import sharp_scene
from tests.support.studio import Studio

FRAMES = 26
Clip = np.ndarray


def clean(seed: int = 1) -> Clip:
    """A sharp panning scene, (T, H, W) float32."""
    return np.stack(sharp_scene(seed, FRAMES)).astype(np.float32)


def findings(clip: Clip) -> tuple[str, ...]:
    meter, frames = CleanMeter(), np.clip(np.rint(clip), 0, 255).astype(np.uint8)
    for frame in frames:
        meter.add(frame)
    return meter.findings(0, len(frames), np.array([region_levels(f) for f in frames]))


def dusty(clip: Clip, frames: range, count: int) -> Clip:
    for frame in frames:
        for at in range(count):
            cv2.circle(clip[frame], (30 + 35 * at, 15 + 37 * frame % 90), 3, 20.0, -1)
    return clip


def test_a_clean_shot_is_clean() -> None:
    assert findings(clean()) == ()


@pytest.mark.parametrize(
    ("damaged", "word"),
    [
        (lambda c: dusty(c, range(2, 12), 1), "specks"),
        (lambda c: dusty(c, range(6, 7), 4), "specks"),  # in one frame only
        (lambda c: c + 6 * np.random.default_rng(3).standard_normal(c.shape), "noise"),
        (lambda c: c * (1 + 0.1 * (np.arange(len(c)) % 2))[:, None, None], "flicker"),
        (lambda c: np.stack([cv2.GaussianBlur(f, (0, 0), 1.2) for f in c]), "soft"),
        (lambda c: np.where(np.arange(160) == 70, c + 60, c), "lines"),
        (lambda c: c[:23], "short"),
    ],
)
def test_one_kind_of_damage_is_enough(damaged: Callable[[Clip], Clip], word: str) -> None:
    assert word in findings(damaged(clean()))


def test_noise_under_blocks_of_a_codec_is_found() -> None:
    rng = np.random.default_rng(4)
    blocks = np.kron(rng.normal(0, 9, (15, 20)), np.ones((8, 8)))
    assert "coding" in findings(clean() + blocks + rng.normal(0, 1.5, (FRAMES, 120, 160)))


def in_colour(clip: Clip) -> Clip:
    return np.clip(np.rint(clip[..., None] * np.array([1, 1, 0.8])), 0, 255).astype(np.uint8)


def test_a_clean_shot_is_published_bit_for_bit(tmp_path: Path) -> None:
    parts = [in_colour(clean(1)), in_colour(clean(2)[:3])]
    source = tmp_path / "reel.mkv"
    write_rgb(source, np.concatenate(parts), Fraction(24), pix_fmt="yuv420p")
    published = Studio(tmp_path / "out", Recipe(model="fast", grain=0.0)).publish(source)
    assert published.survey.shots == [
        Shot(0, FRAMES, left="clean"), Shot(FRAMES, FRAMES + 3, found="short"),
    ]  # fmt: skip
    row = published.row
    assert (row["state"], row["frames_clean"], row["frames_left"]) == ("published", FRAMES, FRAMES)
    assert row["frames_changed"] == 3
    with Decoder(source, Limits()) as before, Decoder(published.path, Limits()) as after:
        same = [a.crc32 == b.crc32 for a, b in zip(before, after, strict=True)]
    assert same == [True] * FRAMES + [False] * 3


def test_a_clip_of_clean_shots_is_untouched(tmp_path: Path) -> None:
    source = tmp_path / "street.mkv"
    write_rgb(source, in_colour(clean()), Fraction(24), pix_fmt="yuv420p")
    row = Studio(tmp_path / "out", Recipe(model="fast")).publish(source).row
    assert (row["state"], row["frames_clean"], row["frames_changed"]) == ("untouched", FRAMES, 0)
    assert row["digital_source_type"].endswith("digitalCapture")
    survey = Studio(tmp_path / "all", Recipe(model="fast", clean="restore")).survey(source)
    assert [shot.left for shot in survey.shots] == [""]  # the recipe restores it


def test_real_clips_are_clean_until_they_are_damaged(footage: Path) -> None:
    rgb = np.stack(list(read_rgb(footage / "valid/derf_carphone_qcif.mp4", 0, FRAMES)))
    luma = rgb.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)
    assert findings(luma) == ()
    assert "specks" in findings(dusty(luma, range(5, 7), 4))


def test_a_clip_without_colour_is_not_cleared(tmp_path: Path) -> None:
    source = tmp_path / "gray.mkv"
    gray = np.repeat(np.clip(clean(), 0, 255).astype(np.uint8)[..., None], 3, -1)
    write_rgb(source, gray, Fraction(24), pix_fmt="yuv420p")
    survey = Studio(tmp_path / "out", Recipe(model="fast")).survey(source)
    assert [(shot.left, shot.found) for shot in survey.shots] == [("", "monochrome")]
