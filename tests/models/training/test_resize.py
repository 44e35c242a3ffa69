"""A network of another size starts with the same pictures."""

from pathlib import Path

import pytest
import torch

from models.network import checkpoint
from models.network.sizes import SIZES
from models.network.unet import RestorationNet
from models.training.resize import resized
from tests.support.networks import noisy_window, randomised, window


def assert_same_pictures(*nets: RestorationNet) -> None:
    """All that the networks say of a window is the same."""
    frames, trust = window()
    t, eps, kappa = torch.tensor([0.4]), torch.randn(1, 24, 12, 16), torch.full((1, 1, 12, 16), 0.2)
    pictures = [net(frames, trust, t, eps, frames[:, 0], kappa) for net in nets]
    for name in ("image", "latent", "defect_logits", "alpha", "error"):
        before, after = (getattr(picture, name) for picture in pictures)
        assert torch.allclose(before, after, atol=1e-4), name
        assert before.std() > 1e-3, name  # the comparison is of something


@pytest.mark.parametrize("large", ["fast", "large"])
def test_a_wider_network_gives_the_same_pictures_and_can_learn_more(large: str) -> None:
    net = randomised(RestorationNet("micro"))
    wide = resized(net, large)
    assert_same_pictures(net, wide)
    frames, trust = window()
    flat = torch.ones(1), torch.zeros(1, 24, 12, 16), frames[:, 0], torch.zeros(1, 1, 12, 16)
    wide(frames, trust, *flat).image.square().mean().backward()
    old = net.denoiser.inp.out_channels
    reads_new = wide.denoiser.enc4[0].conv1.weight.grad[:, old:]
    assert reads_new.abs().max() > 0  # what new channels say is listened to from the first step


@pytest.mark.parametrize("large", ["fast", "large"])
def test_a_narrower_network_keeps_the_channels_that_say_something(large: str) -> None:
    net = randomised(RestorationNet("micro"))
    wide, other = resized(net, large), resized(net, large).state_dict()
    for name, value in wide.state_dict().items():  # in place: what is drawn at random says nothing
        value[value != other[name]] = 0
    shuffle_channels(wide)
    assert_same_pictures(net, wide)
    assert_same_pictures(net, resized(wide, "micro"))


def shuffle_channels(net: RestorationNet) -> None:
    """Put the features at a quarter of the resolution and those within a block in another order,
    in place, for the same pictures.
    """
    size = SIZES[net.size]
    features, inner = torch.randperm(size.quarter), torch.randperm(size.levels[1])
    first = net.denoiser.inp.in_channels - size.quarter
    rows = (net.encoder.down, net.encoder.res4.conv2)
    columns = (
        (net.encoder.res4.conv1, 0),
        (net.denoiser.inp, first),
        (net.decoder.inp, net.channels),
    )
    block = net.denoiser.enc8[0]
    both = torch.cat([inner, len(inner) + inner])  # FiLM: scale and shift
    with torch.no_grad():
        for layer in rows:
            layer.weight.copy_(layer.weight[features])
            layer.bias.copy_(layer.bias[features])
        for layer, start in columns:
            part = layer.weight[:, start : start + size.quarter]
            part.copy_(part[:, features].clone())
        block.conv1.weight.copy_(block.conv1.weight[inner])
        block.conv1.bias.copy_(block.conv1.bias[inner])
        block.conv2.weight.copy_(block.conv2.weight[:, inner])
        block.film.weight.copy_(block.film.weight[both])
        block.film.bias.copy_(block.film.bias[both])


def test_a_network_with_damage_levels_begins_as_one_without(tmp_path: Path) -> None:
    net = randomised(RestorationNet("micro"))
    told = resized(net, "micro", severe=True)
    frames, trust = noisy_window(10.0)
    same = [n.restore(frames, trust, 1, 0.0, 0).image for n in (net, told)]
    assert torch.allclose(*same, atol=1e-5)
    torch.nn.init.normal_(told.denoiser.severity.out.weight, 0, 0.5)
    found = told.restore(frames, trust, 1, 0.0, 0).image
    assert not torch.allclose(found, same[0], atol=1e-3)
    checkpoint.save(told, tmp_path / "told.safetensors", {})
    again = checkpoint.load(tmp_path / "told.safetensors")
    assert again.severe
    assert torch.allclose(again.restore(frames, trust, 1, 0.0, 0).image, found, atol=1e-3)
    with pytest.raises(ValueError, match="set severe = true"):
        resized(told, "micro", severe=False)
