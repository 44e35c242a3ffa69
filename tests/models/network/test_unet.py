"""The network, its weights files and the stream of frames through it, at the smallest size."""

import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from models.fidelity.damage_level import Nearest, damage_level
from models.motion.temporal_filter import FILTER_REACH
from models.network import checkpoint
from models.network.unet import SIZES, RestorationNet
from models.restorer import CONTEXT, Restorer
from models.training.resize import resized

RNG = np.random.default_rng(0)


def window(height: int = 48, width: int = 64) -> tuple[torch.Tensor, torch.Tensor]:
    rng = torch.Generator().manual_seed(0)
    return torch.rand(1, 5, 3, height, width, generator=rng), torch.ones(1, 4, height, width)


def randomised(net: RestorationNet) -> RestorationNet:
    """A network whose zero-initialised layers do something."""
    torch.manual_seed(0)
    for parameter in net.parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=0.05)
    net.vae.fit(torch.rand(8, 3, 64, 64))
    return net.eval()


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


def test_weights_come_back_with_their_configuration(tmp_path: Path) -> None:
    net, path = randomised(RestorationNet("micro")), tmp_path / "micro.safetensors"
    checkpoint.save(net, path, {"step": 3})
    again = checkpoint.load(path, checkpoint.sha256(path))
    frames, trust = window()
    assert torch.allclose(
        net.restore(frames, trust, 1, 0.0, 0).image,
        again.restore(frames, trust, 1, 0.0, 0).image,
        atol=2e-3,
    )  # half-precision weights
    assert checkpoint.config(path)["training"] == {"step": 3}


def test_foreign_or_changed_weights_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.safetensors"
    save_file({"x": torch.zeros(1)}, path)
    with pytest.raises(ValueError, match="is not an archive-restore"):
        checkpoint.load(path)
    checkpoint.save(RestorationNet("micro"), path, {})
    with pytest.raises(ValueError, match="pinned SHA-256"):
        checkpoint.load(path, "0" * 64)
    with pytest.raises(ValueError, match="no weights are shipped for model size 'huge'"):
        checkpoint.shipped("huge")


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
        (net.encoder.res4.conv1, 0), (net.denoiser.inp, first), (net.decoder.inp, net.channels)
    )  # fmt: skip
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


@pytest.fixture(scope="module", params=[False, True], ids=["", "severe"])
def restorer(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Restorer:
    path = tmp_path_factory.mktemp("weights") / "micro.safetensors"
    checkpoint.save(randomised(RestorationNet("micro", severe=request.param)), path, {})
    return Restorer(weights=path, device="cpu")


def clip(count: int) -> list[np.ndarray]:
    gains = np.exp(np.random.default_rng(3).normal(0, 0.06, count))
    wide = np.random.default_rng(4).random((40, 200, 3)).astype(np.float32) * 0.6 + 0.2
    return [np.ascontiguousarray(wide[:, i : i + 72]) * np.float32(g) for i, g in enumerate(gains)]


@pytest.mark.parametrize("deflicker", [False, True])
def test_a_stream_keeps_count_and_size(restorer: Restorer, deflicker: bool) -> None:
    found = list(restorer.stream(clip(9), deflicker=deflicker))
    assert len(found) == 9
    assert all(r.image.shape == (40, 72, 3) and r.image.dtype == np.float32 for r in found)
    assert (found[3].curve.gain != 1) == deflicker


def test_shards_with_context_equal_the_whole_shot(restorer: Restorer) -> None:
    frames = clip(CONTEXT * 2 + 10)
    whole = [r.image for r in restorer.stream(frames, deflicker=True)]
    cut = len(frames) // 2
    left = list(restorer.stream(frames[: cut + CONTEXT], deflicker=True))[:cut]
    right = list(
        restorer.stream(frames[cut - CONTEXT :], deflicker=True, first_index=cut - CONTEXT)
    )[CONTEXT:]
    for whole_frame, part in zip(whole, [*left, *right], strict=True):
        assert np.array_equal(whole_frame, part.image)


@pytest.mark.parametrize("deflicker", [False, True])
def test_only_the_frames_that_are_wanted_cost_the_network(
    restorer: Restorer, deflicker: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    frames, runs = clip(16), []
    whole = list(restorer.stream(frames, deflicker=deflicker, first_index=40))
    real = RestorationNet.restore

    def counted(net: RestorationNet, *given: Any) -> Any:
        runs.append(1)
        return real(net, *given)

    monkeypatch.setattr(RestorationNet, "restore", counted)
    part = list(restorer.stream(frames, deflicker=deflicker, first_index=40, wanted=range(44, 49)))
    assert len(part) == 5 and len(runs) == 5 + 2 * FILTER_REACH
    for one, other in zip(part, whole[4:9], strict=True):
        assert np.array_equal(one.image, other.image) and one.curve == other.curve


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
@pytest.mark.gpu
def test_the_gpu_gives_the_same_picture(restorer: Restorer, tmp_path: Path) -> None:
    path = tmp_path / "micro.safetensors"
    checkpoint.save(restorer.net.cpu(), path, {})
    on_gpu = Restorer(weights=path, device="cuda")
    for a, b in zip(
        restorer.stream(clip(3), deflicker=False),
        on_gpu.stream(clip(3), deflicker=False),
        strict=True,
    ):
        assert np.abs(a.image - b.image).max() < 2 / 255  # bf16 autocast on the GPU


def noisy_window(sigma: float, match: bool = True) -> tuple[torch.Tensor, torch.Tensor]:
    """Five frames of one textured picture with noise of their own; or of five pictures."""
    rng = torch.Generator().manual_seed(5)
    scenes = torch.rand(5, 3, 96, 128, generator=rng)
    if match:
        scenes = scenes[:1].expand(5, -1, -1, -1)
    scenes = 0.3 + 0.4 * scenes
    noise = sigma / 255 * torch.randn(scenes.shape, generator=rng)
    return (scenes + noise)[None], torch.full((1, 4, 96, 128), 1.0 if match else 0.0)


def test_severity_tells_noise_from_texture() -> None:
    levels = [damage_level(Nearest.of(*noisy_window(sigma)))[0] for sigma in (0.0, 5.0, 25.0)]
    code_values = [2 ** (4 * level[:3]) - 1 for level in levels]
    assert code_values[0].max() < 0.01  # texture that is the same in all frames is no noise
    # luma is the mean of three channels, a difference has twice the variance of a frame
    expected = 5 * (2 / 3) ** 0.5
    assert code_values[1][1] == pytest.approx(expected, rel=0.05)
    assert code_values[2][1] == pytest.approx(5 * expected, rel=0.05)
    assert code_values[1][0] < code_values[1][1] < code_values[1][2]
    assert [float(level[4]) for level in levels] == [1, 1, 1]
    assert levels[0][3] > levels[0][1]  # within the frame texture is seen


def test_severity_without_a_match_says_so() -> None:
    level = damage_level(Nearest.of(*noisy_window(5.0, match=False)))[0]
    assert level[:3].abs().max() == 0 and level[4] == 0 and level[3] > 0
    assert torch.isfinite(level).all()


def test_a_network_that_is_told_of_severity_begins_as_one_that_is_not(tmp_path: Path) -> None:
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


FAULTS = """
import ctypes, resource, sys
from models.restorer import keep_freed_memory

libc = ctypes.CDLL(None)
libc.malloc.restype, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
if sys.argv[1] == "keep":
    keep_freed_memory()

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    buffers = [libc.malloc(24 << 20) for _ in range(3)]
    for buffer in buffers:
        ctypes.memset(buffer, 1, 24 << 20)
    for buffer in reversed(buffers):
        libc.free(buffer)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

print(min(faults() for _ in range(6)))
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="of glibc's allocator")
def test_freed_memory_is_kept_for_the_next_frame() -> None:
    faults = {
        kept: int(
            subprocess.run(
                [sys.executable, "-c", FAULTS, kept], capture_output=True, check=True, text=True
            ).stdout
        )
        for kept in ("keep", "leave")
    }
    assert faults["leave"] > 1000 > 100 > faults["keep"]
