"""The training bank, built from media that the test draws itself."""

import json
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest

from jobs.training.dataset import (
    BankLayout,
    BankSequence,
    build_bank,
    choose_frames,
    cut_out,
    pan,
    plan,
    thumbnail_changes,
)
from models.damage.dead_leaves import dead_leaves
from models.training.dataset import DEFECT, THING
from pipeline.media.rgb import write_rgb

SMALL = BankLayout(frames=6, size=48)


def shot(seed: int, frames: int = 24, height: int = 90, width: int = 120) -> np.ndarray:
    """A camera pan over a random picture (T, H, W, 3) uint8."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (9, 14, 3), dtype=np.uint8)
    wide = cv2.resize(coarse, (width + 2 * frames, height), interpolation=cv2.INTER_LINEAR)
    return np.stack([wide[:, 2 * t : 2 * t + width] for t in range(frames)])


def read(path: Path) -> np.ndarray:
    """Reads what `media` wrote; module level, so that workers can import it."""
    with path.open("rb") as file:
        return np.load(file)


def codec(frames: np.ndarray, name: str, quality: int) -> np.ndarray:
    step = {"h264": 4}.get(name, 2) + quality % 2
    return (frames // step * step).astype(np.uint8)


@pytest.fixture
def media(tmp_path: Path) -> Path:
    """A data folder with two clips (arrays under a clip's name) and one photograph."""
    data = tmp_path / "data"
    for kind in ("video", "photo"):
        (data / kind).mkdir(parents=True)
    for seed in range(2):
        with (data / "video" / f"clip{seed}.mp4").open("wb") as file:
            np.save(file, shot(seed))
    photo = cv2.resize(shot(5, frames=1)[0], (160, 120))
    cv2.imwrite(str(data / "photo" / "photo.jpg"), photo)
    return data


def test_bank_has_its_arrays_and_its_index(media: Path, tmp_path: Path) -> None:
    summary = build_bank(media, tmp_path / "bank", plan(media, 15), SMALL, 0, 1, read, codec)
    clean, damaged, mask = (
        np.load(tmp_path / "bank" / f"{name}.npy", mmap_mode="r")
        for name in ("clean", "damaged", "mask")
    )
    assert clean.shape == damaged.shape == (15, 6, 48, 48, 3)
    assert mask.shape == (15, 6, 48, 48)
    assert clean.dtype == damaged.dtype == mask.dtype == np.uint8
    assert set(np.unique(mask)) == {0, DEFECT, THING}
    assert all(row.std() > 2 for row in clean)  # every row was filled
    index = json.loads((tmp_path / "bank" / "index.json").read_text())
    rows = index["sequences"]
    assert [row["row"] for row in rows] == list(range(15))
    assert index["layout"]["size"] == 48
    assert summary["sequences"] == 15
    assert summary["psnr_5"] <= summary["psnr_50"] <= summary["psnr_95"]
    for row in rows:
        assert row["preset"] == "film_train"
        error = np.square(damaged[row["row"]].astype(float) - clean[row["row"]]).mean((1, 2, 3))
        expected = np.minimum(10 * np.log10(255**2 / np.maximum(error, 1e-9)), 99).mean()
        assert row["psnr"] == pytest.approx(expected, abs=0.01)


def test_things_are_real_in_the_bank_and_marked(media: Path, tmp_path: Path) -> None:
    items = [BankSequence("video/clip0.mp4", "clean", place) for place in range(12)]
    drawn = {}
    for share in (0.0, 1.0):
        folder = tmp_path / str(share)
        build_bank(media, folder, items, replace(SMALL, things_share=share), 0, 1, read, codec)
        drawn[share] = {n: np.load(folder / f"{n}.npy") for n in ("clean", "damaged", "mask")}
    assert not drawn[0.0]["mask"].any()
    assert (drawn[1.0]["mask"] == THING).any((1, 2, 3)).sum() >= 6
    assert (drawn[1.0]["damaged"] == drawn[1.0]["clean"]).all()  # a thing is no damage


def test_bank_from_encoded_clips(tmp_path: Path) -> None:
    (tmp_path / "video").mkdir(parents=True)
    write_rgb(tmp_path / "video" / "clip.mp4", shot(1), Fraction(24))
    items = plan(tmp_path, 6, preset="film")
    summary = build_bank(tmp_path, tmp_path / "bank", items, SMALL, workers=1)
    assert 18 < summary["psnr_50"] < 27
    rows = json.loads((tmp_path / "bank" / "index.json").read_text())["sequences"]
    assert all(22 <= row["severity"]["h264.quality"] <= 26 for row in rows)


def test_bank_is_the_same_for_any_number_of_workers(media: Path, tmp_path: Path) -> None:
    items = plan(media, 7)
    for workers in (1, 2):
        build_bank(media, tmp_path / str(workers), items, SMALL, 3, workers, read, codec)
    for name in ("clean.npy", "damaged.npy", "mask.npy", "index.json"):
        first, second = ((tmp_path / str(n) / name).read_bytes() for n in (1, 2))
        assert first == second, name


def test_same_place_shares_the_clean_frames(media: Path, tmp_path: Path) -> None:
    items = [BankSequence("video/clip0.mp4", preset, 9) for preset in ("film", "g25", "clean")]
    build_bank(media, tmp_path / "bank", items, SMALL, 0, 1, read, codec)
    clean = np.load(tmp_path / "bank" / "clean.npy")
    damaged = np.load(tmp_path / "bank" / "damaged.npy")
    assert (clean[0] == clean[1]).all()
    assert (clean[1] == clean[2]).all()
    assert (damaged[2] == clean[2]).all()
    assert (damaged[0] != damaged[1]).any()


def test_plan_takes_clips_twice_as_often_as_photos(media: Path) -> None:
    sources = [item.source for item in plan(media, 50)]
    assert sources.count("photo/photo.jpg") == 10
    assert sources.count("video/clip0.mp4") == sources.count("video/clip1.mp4") == 20


def test_a_share_of_a_plan_is_procedural(media: Path, tmp_path: Path) -> None:
    items = plan(media, 10, "web_train", 0.4)
    drawn = [item.source for item in items if item.source.startswith("dead leaves")]
    assert len(items) == 10 and len(drawn) == 4
    build_bank(media, tmp_path / "bank", items, SMALL, 0, 1, read, codec)
    clean = np.load(tmp_path / "bank" / "clean.npy")
    assert all(row.std() > 2 for row in clean)


def test_dead_leaves_move_and_hide_one_another() -> None:
    clips = [dead_leaves(np.random.default_rng(seed), 5, 64) for seed in (1, 1, 2)]
    assert clips[0].shape == (5, 64, 64, 3) and clips[0].dtype == np.uint8
    assert (clips[0] == clips[1]).all() and (clips[0] != clips[2]).any()
    changes = thumbnail_changes(clips[0])
    assert (changes > 0.02).all() and (changes < 28).all()
    contrast = [np.abs(np.diff(clip[0].astype(int), axis=1)).mean() for clip in clips]
    assert min(contrast) > 2  # edges and texture


def test_plan_needs_media(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no \*\.mp4"):
        plan(tmp_path, 4)


def test_sequences_do_not_cross_a_cut_or_a_repeated_frame() -> None:
    rng = np.random.default_rng(0)
    clip = np.concatenate([shot(1, 20), 255 - shot(2, 20)])
    clip[30] = clip[29]
    changes = thumbnail_changes(clip)
    assert changes[19] > 28
    for _ in range(60):
        start, step = choose_frames(changes, SMALL, rng)
        last = start + step * (SMALL.frames - 1)
        assert last <= 19 or start >= 20
        assert not start <= 29 < last


def test_cut_out_takes_consecutive_frames_of_the_clip() -> None:
    rng = np.random.default_rng(0)
    clip = shot(3)
    for _ in range(10):
        frames, origin = cut_out(clip, SMALL, rng)
        assert frames.shape == (6, 48, 48, 3)
        assert 0.53 <= origin["scale"] <= 1
    with pytest.raises(ValueError, match="smaller than 48"):
        cut_out(clip[:, :40], SMALL, rng)
    with pytest.raises(ValueError, match="shorter than 6"):
        cut_out(clip[:5], SMALL, rng)


def test_photos_move_smoothly() -> None:
    rng = np.random.default_rng(0)
    photo = cv2.resize(shot(4, 1)[0], (640, 480), interpolation=cv2.INTER_LINEAR)
    for _ in range(10):
        frames, origin = pan(photo, SMALL, rng)
        assert frames.shape == (6, 48, 48, 3)
        changes = thumbnail_changes(frames)
        assert np.ptp(changes) < 8  # an even motion with a little jitter, no jump
        assert origin["speed_px"] > 0
