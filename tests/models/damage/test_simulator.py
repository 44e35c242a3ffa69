"""The damage simulator: repeatable, with exact masks."""

import numpy as np
import pytest

from models.damage.defects import FAINT
from models.damage.presets import PRESETS, one
from models.damage.simulator import (
    DEGRADATIONS,
    MASKS,
    MOVES,
    age,
    changed,
    quantise,
    random_stream,
)
from tests.support.media.pictures import grey, psnr, scene


def rough_codec(frames: np.ndarray, name: str, quality: int) -> np.ndarray:
    """Stands in for a video encoder: coarser with a higher quality number."""
    step = max(quality // 4, 1)
    return (frames // step * step + step // 2).clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize("preset", PRESETS)
def test_same_seed_gives_the_same_bytes(preset: str) -> None:
    clip = scene()
    original = clip.copy()
    first, second = (age(clip, preset, 5, rough_codec) for _ in range(2))
    assert first.frames.tobytes() == second.frames.tobytes()
    assert all((first.masks[name] == second.masks[name]).all() for name in first.masks)
    assert first.severity == second.severity
    assert (clip == original).all()
    if preset != "clean":
        assert first.frames.tobytes() != age(clip, preset, 6, rough_codec).frames.tobytes()


@pytest.mark.parametrize("preset", PRESETS)
def test_shapes_and_types(preset: str) -> None:
    clip = scene(3, 50, 70)
    aged = age(clip, preset, 0)
    assert aged.frames.shape == clip.shape
    assert aged.frames.dtype == np.uint8
    assert set(aged.masks) == set(MASKS.values())
    assert all(m.shape == clip.shape[:3] and m.dtype == bool for m in aged.masks.values())
    assert all(np.isfinite(value) for value in aged.severity.values())


@pytest.mark.parametrize("name", MASKS)
def test_masks_are_exactly_the_changed_pixels(name: str) -> None:
    before = scene(40)[::5].astype(np.float32)  # standing dirt needs a fast pan
    params = {"rate": 6} if name in ("dust", "blotches", "dropouts") else {}
    params |= {"share": 0.2} if name == "packet_loss" else {}
    after = DEGRADATIONS[name](before.copy(), random_stream(2, name), **params)
    mask = changed(before, after)
    seen = (quantise(after) != quantise(before)).any(3)
    assert mask.any()
    assert (mask & seen).sum() == (mask | seen).sum()  # IoU = 1


@pytest.mark.parametrize("name", MASKS)
def test_masks_reach_the_caller(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    presets = ("film_train", "soiled_train", "tape_train", "worn", "scan")
    wide = [slot for preset in presets for slot in PRESETS[preset]]
    monkeypatch.setitem(PRESETS, "alone", tuple(slot for slot in wide if slot.name == name)[:1])
    clip = scene(40)[::5]
    results = [age(clip, "alone", seed) for seed in range(12)]
    assert any(aged.masks[MASKS[name]].any() for aged in results)
    for aged in results:
        seen = (aged.frames != clip).any(3)
        whole = seen | seen.any((1, 2), keepdims=True)
        assert ((whole if name == "lost_frames" else seen) == aged.masks[MASKS[name]]).all()


def test_two_degradations_of_one_kind_share_a_mask(monkeypatch: pytest.MonkeyPatch) -> None:
    dust, crumbs = one(1, "dust", rate=20), one(1, "crumbs", rate=20)
    for name, slots in {"dust": [dust], "crumbs": [crumbs], "both": [dust, crumbs]}.items():
        monkeypatch.setitem(PRESETS, name, tuple(slots))
    masks = {name: age(scene(), name, 3).masks["dust"] for name in ("dust", "crumbs", "both")}
    assert (masks["dust"] & ~masks["crumbs"]).any()
    assert (masks["crumbs"] & ~masks["dust"]).any()
    assert (masks["both"] >= masks["dust"]).all()
    assert masks["both"].sum() > 0.9 * (masks["dust"] | masks["crumbs"]).sum()


def test_the_mask_of_a_lost_frame_is_all_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PRESETS, "lost", (one(1, "lost_frames", most=2, black_share=1),))
    clip = np.zeros((6, 16, 16, 3), np.uint8)
    clip[:, 8, 8] = 200  # black frames change nothing else
    aged = age(clip, "lost", 1)
    gone = (aged.frames != clip).any((1, 2, 3))
    assert 1 <= gone.sum() <= 2
    assert (aged.masks["lost"] == gone[:, None, None]).all()


@pytest.mark.parametrize("name", sorted(MOVES))
def test_masks_go_where_the_picture_goes(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PRESETS, "still", (one(1, "dust", rate=20),))
    monkeypatch.setitem(PRESETS, "moved", (one(1, "dust", rate=20), one(1, name)))
    clip = quantise(grey(100))
    still, moved = (age(clip, preset, 3) for preset in ("still", "moved"))
    assert (still.masks["dust"] != moved.masks["dust"]).any()
    stood = moved.frames[~moved.masks["dust"] & ~moved.masks["lost"]]
    assert np.abs(stood.astype(int) - 100).max() <= 155 * FAINT + 1
    assert (moved.frames[moved.masks["dust"]] != 100).any(1).mean() > 0.9


def test_the_target_weaves_and_is_toned_as_the_print(monkeypatch: pytest.MonkeyPatch) -> None:
    slots = one(1, "gate_weave", weave_px=2), one(1, "monochrome"), one(1, "dust", rate=4)
    monkeypatch.setitem(PRESETS, "kept", slots)
    aged = age(scene(), "kept", 1)
    outside = ~aged.masks["dust"]
    assert np.abs(aged.frames[outside].astype(int) - aged.target[outside]).max() <= 1
    assert psnr(aged.target, scene()) < 40
    assert (age(scene(), "film", 1).target == scene()).all()


def test_codec_gets_its_name_and_an_integer_quality() -> None:
    calls: list[tuple[str, int]] = []

    def note(frames: np.ndarray, name: str, quality: int) -> np.ndarray:
        calls.append((name, quality))
        assert frames.dtype == np.uint8
        return frames

    clip = scene(2, 32, 32)
    for seed in range(60):
        age(clip, "film_train", seed, note)
    assert 22 < len(calls) < 50
    assert {name for name, _ in calls} == {"h264", "mpeg2video", "mpeg4"}
    for name, quality in calls:
        assert isinstance(quality, int)
        assert (15 <= quality <= 31) if name == "h264" else (2 <= quality <= 10)
    assert (age(clip, "film", 0).frames == age(clip, "film", 0, note).frames).all()


def test_a_new_degradation_leaves_the_others_as_they_were(monkeypatch: pytest.MonkeyPatch) -> None:
    full = age(scene(), "film", 4).masks["dust"]
    without = tuple(s for s in PRESETS["film"] if s.name in ("dust", "blotches"))
    monkeypatch.setitem(PRESETS, "dust_only", without)
    alone = age(scene(), "dust_only", 4).masks["dust"]
    assert (full & alone).sum() / (full | alone).sum() > 0.9  # same specks on other pixels


def test_wrong_input_is_refused() -> None:
    with pytest.raises(ValueError, match=r"unknown damage preset 'wax'.*film"):
        age(scene(), "wax", 0)
    with pytest.raises(ValueError, match="uint8"):
        age(scene().astype(np.float32), "film", 0)
