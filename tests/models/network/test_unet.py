"""The network at its smallest size."""

import pytest
import torch

from models.network.unet import DECODER_REACH, RestorationNet
from tests.support.networks import randomised, window


def test_an_untrained_network_returns_the_linear_decoding() -> None:
    net = RestorationNet("micro")
    net.vae.fit(torch.rand(8, 3, 64, 64))
    frames, trust = window()
    out = net.restore(frames, trust, 1, 0.0, 0)
    linear = net.vae.decode(net.vae.encode(frames[:, 0]))
    alpha = torch.sigmoid(torch.tensor(-2.0))
    assert torch.allclose(out.image, alpha * frames[:, 0] + (1 - alpha) * linear, atol=1e-5)


def test_pixels_far_away_do_not_matter() -> None:
    """No operation looks at the whole frame: statistics would make tile seams and flicker."""
    net = randomised(RestorationNet("micro"))
    frames, _trust = window(64, 512)
    changed = frames.clone()
    changed[..., 384:] = 1 - changed[..., 384:]
    a, b = (net.restore(f, torch.ones(1, 4, 64, 512), 1, 0.0, 0).image for f in (frames, changed))
    assert torch.allclose(a[..., :128], b[..., :128], atol=1e-6)
    assert not torch.allclose(a[..., 400:], b[..., 400:], atol=1e-2)


def test_a_part_is_decoded_as_in_the_whole_frame() -> None:
    net = randomised(RestorationNet("micro"))

    def apart(reach: int) -> float:
        """How far 16x16 pixels differ if they are decoded with so many pixels around them."""
        part = net.decode(known.part(*(slice(32 - reach, 48 + reach),) * 2)).image
        middle = part[..., reach : reach + 16, reach : reach + 16]
        return float((middle - whole[..., 32:48, 32:48]).abs().max())

    with torch.inference_mode():
        known = net.denoised(*window(96, 128), 1, 0.0, 0)
        whole = net.decode(known).image
        assert apart(DECODER_REACH) < 1e-5 < apart(DECODER_REACH - 4)


@pytest.mark.parametrize("steps", [1, 3])
def test_the_same_seed_gives_the_same_frame(steps: int) -> None:
    net = randomised(RestorationNet("micro"))
    frames, trust = window()
    a, b = (net.restore(frames, trust, steps, 0.2, 7).image for _ in range(2))
    assert torch.equal(a, b)
    if steps > 1:
        assert not torch.equal(a, net.restore(frames, trust, steps, 0.2, 8).image)


def test_one_frame_alone_is_what_it_is_in_a_batch() -> None:
    """A batch of one and inference without gradients take shortcuts; the picture is the same."""
    net = randomised(RestorationNet("micro"))
    frames, trust = window()
    t, eps, clean = torch.tensor([0.4]), torch.zeros(1, 24, 12, 16), frames[:, 1]
    kappa = torch.zeros(1, 1, 12, 16)
    one = net(frames, trust, t, eps, clean, kappa).image
    assert one.requires_grad
    twice = (x.repeat(2, *[1] * (x.ndim - 1)) for x in (frames, trust, t, eps, clean, kappa))
    both = net(*twice).image
    with torch.inference_mode():
        quick = net(frames, trust, t, eps, clean, kappa).image
    assert torch.allclose(one, both[:1], atol=1e-5) and torch.allclose(one, quick, atol=1e-6)


def test_an_image_is_encoded_by_its_blocks() -> None:
    """The convolutions with strides are the block operations that they stand for."""
    net, image = randomised(RestorationNet("micro")), window()[0][:, 0]
    blocks = torch.nn.functional.pixel_unshuffle(image, 4) - net.vae.mean[:, None, None]
    projected = torch.einsum("kc,bchw->bkhw", net.vae.basis, blocks)
    assert torch.allclose(net.vae.encode(image), projected, atol=1e-5)
    halves = net.encoder.inp(torch.nn.functional.pixel_unshuffle(image - 0.5, 2))
    assert torch.allclose(net.encoder.blocks(image - 0.5), halves, atol=1e-5)
