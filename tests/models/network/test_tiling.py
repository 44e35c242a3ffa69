"""Tiles with a margin give the picture of the whole frame."""

from typing import Any

import numpy as np
import pytest
import torch

from models.fidelity.regions import mask_of
from models.network import checkpoint
from models.network.cover import tiles
from models.network.need import TILE_MARGIN
from models.network.stage import restore_window
from models.network.tiling import NOT_LOOKED
from models.network.unet import MULTIPLE, RestorationNet

pytestmark = pytest.mark.usefixtures("single_precision")


HEIGHT, WIDTH = 330, 600  # neither a multiple of a tile nor of MULTIPLE


@pytest.fixture(scope="module")
def net() -> RestorationNet:
    return checkpoint.load(checkpoint.shipped("fast"))


@pytest.fixture(scope="module")
def frames() -> tuple[torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(0)
    rough = torch.from_numpy(rng.random((5, 3, HEIGHT, WIDTH), dtype=np.float32))
    window = torch.nn.functional.avg_pool2d(rough, 5, 1, 2)
    return window, torch.from_numpy(rng.random((4, HEIGHT, WIDTH), dtype=np.float32))


@pytest.mark.parametrize(
    ("height", "width", "side"), [(336, 608, 256), (16, 16, 1024), (96, 64, 0)]
)
def test_tiles_cover_the_frame_once_and_keep_to_the_grid(
    height: int, width: int, side: int
) -> None:
    times = np.zeros((height, width), int)
    for tile in tiles(height, width, side):
        times[tile.kept] += 1
        for kept, computed, inside, length in zip(
            tile.kept, tile.computed, tile.inside, (height, width), strict=True
        ):
            assert computed.start % MULTIPLE == 0 and computed.stop % MULTIPLE == 0
            assert computed.start in (0, kept.start - TILE_MARGIN)
            assert computed.stop in (length, kept.stop + TILE_MARGIN)
            assert inside.stop - inside.start == kept.stop - kept.start
    assert (times == 1).all()


@pytest.mark.parametrize(("steps", "tolerance"), [(1, 1e-6), (2, 1e-3)])
def test_the_picture_does_not_depend_on_the_tiles(
    steps: int, tolerance: float, net: RestorationNet, frames: tuple[torch.Tensor, torch.Tensor]
) -> None:
    whole = restore_window(net, *frames, steps=steps, seed=5)
    assert whole.image.shape == (3, HEIGHT, WIDTH)
    tiled = restore_window(net, *frames, steps=steps, seed=5, side=256)
    for one, other in zip(whole, tiled, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=20 * tolerance)  # logits go to +-20
    torch.testing.assert_close(whole.image, tiled.image, rtol=0, atol=tolerance)


def test_tiles_use_the_levels_of_the_whole_frame(
    frames: tuple[torch.Tensor, torch.Tensor],
) -> None:
    torch.manual_seed(4)
    told = RestorationNet("micro", severe=True).eval().requires_grad_(False)
    for parameter in told.parameters():
        torch.nn.init.normal_(parameter, 0, 0.05)
    window, trust = frames[0].clone(), 0.5 + frames[1] / 2
    window[..., : WIDTH // 2] *= 0.1  # so that the noise of a tile is not that of the frame
    whole = restore_window(told, window, trust, steps=1, seed=5)
    tiled = restore_window(told, window, trust, steps=1, seed=5, side=256)
    torch.testing.assert_close(whole.image, tiled.image, rtol=0, atol=1e-5)


def test_the_margin_is_what_makes_them_equal(
    net: RestorationNet, frames: tuple[torch.Tensor, torch.Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = restore_window(net, *frames, steps=1, seed=5)
    monkeypatch.setattr("models.network.cover.TILE_MARGIN", 16)
    assert (
        float((restore_window(net, *frames, steps=1, seed=5, side=256)[0] - whole[0]).abs().max())
        > 1e-3
    )


def test_places_have_the_picture_of_the_whole_frame_and_the_rest_the_source(
    net: RestorationNet, frames: tuple[torch.Tensor, torch.Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Within two code values in noise, though only a part of the frame is computed."""
    whole = restore_window(net, *frames, steps=1, seed=5)
    computed = []
    real = RestorationNet.denoised

    def counted(net: RestorationNet, window: torch.Tensor, *given: Any) -> Any:
        computed.append(window.shape[-2] * window.shape[-1])
        return real(net, window, *given)

    monkeypatch.setattr(RestorationNet, "denoised", counted)
    places = [(80, 96, 32, 48), (560, 304, 40, 26)]
    found = restore_window(net, *frames, steps=1, seed=5, places=places)
    assert sum(computed) < 0.5 * HEIGHT * WIDTH
    mask = torch.from_numpy(mask_of(places, HEIGHT, WIDTH))
    source = frames[0][0]
    apart = 255 * (found.image - whole.image).abs()[:, mask]
    assert apart.max() < 2 and apart.mean() < 0.2
    assert (found.image - source).abs()[:, mask].max() > 3 / 255
    assert torch.equal(found.image[:, ~mask], source[:, ~mask])
    assert (found.alpha - whole.alpha).abs()[mask].max() < 0.02
    assert found.alpha[~mask].isnan().all() and not found.defects[~mask][:, None].any()
    assert (found.defect_logits[~mask] == NOT_LOOKED).all()
    assert found.predicted_error.isfinite() and found.predicted_error > 0
    all_of_it = restore_window(net, *frames, steps=1, seed=5, places=[(0, 0, WIDTH, HEIGHT)])
    assert torch.equal(all_of_it.image, whole.image)
    assert all_of_it.predicted_error == whole.predicted_error


def test_without_a_place_the_network_does_not_run(
    net: RestorationNet, frames: tuple[torch.Tensor, torch.Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(RestorationNet, "denoised", None)
    found = restore_window(net, *frames, steps=1, seed=5, places=[])
    assert torch.equal(found.image, frames[0][0])
    assert found.predicted_error == 0 and not found.defects.any()
