"""bfloat16, where a device multiplies it: the same picture to within a code value or two, and no
seams."""

import pytest
import torch

from models.network import checkpoint, precision
from models.network.stage import restore_window
from models.network.unet import RestorationNet

HEIGHT, WIDTH = 160, 304
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def net() -> RestorationNet:
    return checkpoint.load(checkpoint.shipped("fast"))


@pytest.fixture
def half_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a CPU that multiplies bfloat16; another one does the same, slowly."""
    monkeypatch.setattr("models.network.precision.on_cpu", lambda: True)


def noisy() -> tuple[torch.Tensor, torch.Tensor]:
    """Five aligned frames of one soft scene under strong noise, all matches believed."""
    rng = torch.Generator().manual_seed(3)
    scene = torch.nn.functional.avg_pool2d(torch.rand(3, HEIGHT, WIDTH, generator=rng), 9, 1, 4)
    noise = 0.08 * torch.randn(5, 3, HEIGHT, WIDTH, generator=rng)
    return (scene + noise).clamp(0, 1), torch.ones(4, HEIGHT, WIDTH)


@pytest.mark.usefixtures("half_precision")
def test_half_precision_is_near_single(
    net: RestorationNet, monkeypatch: pytest.MonkeyPatch
) -> None:
    half = restore_window(net, *noisy(), steps=1, seed=0)
    monkeypatch.setattr("models.network.precision.on_cpu", lambda: False)
    single = restore_window(net, *noisy(), steps=1, seed=0)
    apart = 255 * (half.image - single.image).abs()
    assert 0 < apart.mean() < 0.5
    assert apart.quantile(0.999) < 2.5


@pytest.mark.usefixtures("half_precision")
def test_tiles_in_half_precision_meet_without_a_seam(net: RestorationNet) -> None:
    whole, tiled = (restore_window(net, *noisy(), steps=1, seed=0, side=side) for side in (0, 128))
    assert 255 * (whole.image - tiled.image).abs().max() < 1


@pytest.mark.usefixtures("half_precision")
def test_the_latent_space_stays_single(net: RestorationNet) -> None:
    image = torch.rand(1, 3, 32, 48)
    with precision.half(CPU):
        latent = net.vae.encode(image)
        again = net.vae.decode(latent)
    assert latent.dtype == again.dtype == torch.float32
    assert torch.equal(latent, net.vae.encode(image))
    assert torch.equal(again, net.vae.decode(latent))


def test_half_is_for_devices_that_have_it(monkeypatch: pytest.MonkeyPatch) -> None:
    known: dict[str, bool | int | str] = {"avx2": True}
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: known)
    for name, expected in (("avx512_f", False), ("avx512_bf16", True)):
        known[name] = True
        precision.on_cpu.cache_clear()
        with precision.half(CPU):
            assert (torch.nn.Linear(2, 2)(torch.ones(2)).dtype == torch.bfloat16) == expected
    precision.on_cpu.cache_clear()
