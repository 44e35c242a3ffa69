"""The damage simulator: repeatable, and each degradation has the statistic it promises."""

import cv2
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
from tests.support.pictures import grey, psnr, scene


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


def test_clean_is_untouched() -> None:
    clip = scene()
    assert (age(clip, "clean", 3).frames == clip).all()


def test_film_lands_in_the_band_of_the_test_mix() -> None:
    clip = scene(8, 224, 224)
    values = [psnr(age(clip, "film", seed).frames, clip) for seed in range(12)]
    assert 22 < np.mean(values) < 24.5
    assert min(values) > 19
    assert max(values) < 27


def test_training_damage_is_wider_than_the_test_damage() -> None:
    clip = scene(4)
    spread = {
        preset: np.std([psnr(age(clip, preset, seed).frames, clip) for seed in range(24)])
        for preset in ("film", "film_train")
    }
    assert spread["film_train"] > 2 * spread["film"]


def test_g25_is_white_noise_of_sigma_25() -> None:
    clip = quantise(grey())
    error = age(clip, "g25", 1).frames.astype(float) - clip
    assert error.std() == pytest.approx(25, rel=0.02)
    assert abs(np.corrcoef(error[:, :, 1:].ravel(), error[:, :, :-1].ravel())[0, 1]) < 0.01


@pytest.mark.parametrize("sigma_px", [0.2, 0.6, 1.1])
def test_grain_has_its_strength_at_any_size(sigma_px: float) -> None:
    rng = random_stream(0, "grain")
    noise = DEGRADATIONS["grain"](grey(), rng, 14, 1, 0, sigma_px, 0) - 128
    assert noise.std() == pytest.approx(14, rel=0.05)
    assert np.ptp(noise, axis=3).max() < 1e-3  # luma grain only


def test_grain_is_strongest_in_the_midtones() -> None:
    sd = {}
    for value in (10, 128, 245):
        rng = random_stream(0, "grain")
        sd[value] = (DEGRADATIONS["grain"](grey(value), rng, 10, 0.5, 2, 0.5, 0) - value).std()
    light = 128 / 255
    assert sd[128] == pytest.approx(10 * (0.5 + 2 * light * (1 - light)), rel=0.05)
    assert max(sd[10], sd[245]) < 0.7 * sd[128]


def test_larger_grain_is_more_correlated() -> None:
    def neighbours(sigma_px: float) -> float:
        noise = (
            DEGRADATIONS["grain"](grey(), random_stream(0, "grain"), 14, 1, 0, sigma_px, 0) - 128
        )
        return np.corrcoef(noise[:, :, 1:].ravel(), noise[:, :, :-1].ravel())[0, 1]

    assert neighbours(0.2) < 0.02 < neighbours(0.5) < neighbours(0.8) < neighbours(1.1)


def test_flicker_has_its_deviation_and_memory() -> None:
    clip = grey(100, frames=4000, size=2)
    gains = (
        DEGRADATIONS["flicker"](clip, random_stream(1, "flicker"), 0.06, 0, 0.5)[:, 0, 0, 0] / 100
    )
    assert gains.std() == pytest.approx(0.06, rel=0.08)
    assert np.corrcoef(gains[1:], gains[:-1])[0, 1] == pytest.approx(0.5, abs=0.06)
    clip = grey(100, frames=4000, size=2)
    curve = DEGRADATIONS["flicker"](clip, random_stream(1, "flicker"), 0, 0.06, 0)[:, 0, 0, 0] / 255
    log_gamma = np.log(np.log(curve) / np.log(100 / 255))
    assert log_gamma.std() == pytest.approx(0.06, rel=0.08)


def test_faint_dust_is_fainter_and_as_frequent() -> None:
    depth, count = {}, {}
    for least in (0.2, 1.0):
        clip = DEGRADATIONS["dust"](
            grey(0),
            random_stream(4, "dust"),
            rate=40,
            white_share=1,
            soft_share=0,
            least_opacity=least,
        )
        depth[least] = clip[clip > 0].mean()
        count[least] = (clip > 0).mean()
    assert 0.5 < depth[0.2] / depth[1.0] < 0.7  # 0.2 to 1: 0.6 of the whole on average
    assert count[0.2] == pytest.approx(count[1.0], rel=0.05)


def test_blur_has_its_width() -> None:
    clip = grey(0, frames=1, size=65)
    clip[0, 32, 32] = 255
    spot = DEGRADATIONS["blur"](clip, random_stream(0, "blur"), 1.2)[0, :, :, 0]
    offset = np.arange(65) - 32
    variance = (spot.sum(0) * offset**2).sum() / spot.sum()
    assert np.sqrt(variance) == pytest.approx(1.2, rel=0.05)


@pytest.mark.parametrize("name", MASKS)
def test_masks_are_exactly_the_changed_pixels(name: str) -> None:
    before = scene().astype(np.float32)
    params = {"rate": 6} if name in ("dust", "blotches", "dropouts") else {}
    params |= {"share": 0.2} if name == "packet_loss" else {}
    after = DEGRADATIONS[name](before.copy(), random_stream(2, name), **params)
    mask = changed(before, after)
    seen = (quantise(after) != quantise(before)).any(3)
    assert mask.any()
    assert (mask & seen).sum() == (mask | seen).sum()  # IoU = 1


@pytest.mark.parametrize("name", MASKS)
def test_masks_reach_the_caller(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    wide = [
        slot for preset in ("film_train", "tape_train", "worn", "scan") for slot in PRESETS[preset]
    ]
    monkeypatch.setitem(PRESETS, "alone", tuple(slot for slot in wide if slot.name == name)[:1])
    clip = scene()
    results = [age(clip, "alone", seed) for seed in range(12)]
    assert any(aged.masks[MASKS[name]].any() for aged in results)
    for aged in results:
        seen = (aged.frames != clip).any(3)
        whole = seen | seen.any((1, 2), keepdims=True)
        assert ((whole if name == "lost_frames" else seen) == aged.masks[MASKS[name]]).all()


def test_the_mask_of_a_lost_frame_is_all_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PRESETS, "lost", (one(1, "lost_frames", most=2, black_share=1),))
    clip = np.zeros((6, 16, 16, 3), np.uint8)
    clip[:, 8, 8] = 200  # black frames change nothing else
    aged = age(clip, "lost", 1)
    gone = (aged.frames != clip).any((1, 2, 3))
    assert 1 <= gone.sum() <= 2
    assert (aged.masks["lost"] == gone[:, None, None]).all()


def test_every_degradation_is_in_a_preset() -> None:
    used = {option.name for slots in PRESETS.values() for slot in slots for option in slot.options}
    assert used >= set(DEGRADATIONS)


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


def test_dust_counts_are_poisson_with_the_given_rate() -> None:
    clip = grey(frames=150, size=256)
    specks = DEGRADATIONS["dust"](clip, random_stream(0, "dust"), 4, (2, 3), 0, 0.5, 0)
    marked = changed(np.full_like(clip, 128), specks)
    counts = [cv2.connectedComponents(frame.astype(np.uint8))[0] - 1 for frame in marked]
    assert np.mean(counts) == pytest.approx(4, rel=0.12)
    assert np.var(counts) == pytest.approx(4, rel=0.4)


def test_dust_is_new_in_every_frame_and_scratches_stay() -> None:
    def overlap(name: str, **params: float) -> float:
        marked = changed(grey(), DEGRADATIONS[name](grey(), random_stream(3, name), **params))
        near = cv2.dilate(marked[3].astype(np.uint8), np.ones((5, 5))) > 0
        return (near & marked[4]).sum() / max(marked[4].sum(), 1)

    assert overlap("dust", rate=8) < 0.2
    assert overlap("scratches", lines=4, drift_px=0.5, jitter_px=0.3) > 0.8


def test_scratches_are_tall_and_narrow() -> None:
    lines = DEGRADATIONS["scratches"](grey(), random_stream(0, "s"), lines=1, width_px=(2, 2))
    marked = changed(grey(), lines)
    frame = marked[marked.any((1, 2))][0]
    assert frame.any(1).mean() >= 0.55
    assert 1 <= frame.sum(1).max() <= 4


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
