"""The shipped network with states that pass through a shot both ways; see shot_joint.py.

Before it is trained, its picture is nearly that of the shipped network and the temporal filter: a
mean along the motion, with the filter's weights. What is learned is added to that, and 0 at first.
"""

import math
from typing import NamedTuple

import torch
from shot_networks import warped
from torch import Tensor, nn
from torch.nn import functional as F

from models.fidelity.change_bound import NOISE_OF_FULL_BOUND, NOISE_WITHOUT_BOUND
from models.fidelity.damage_level import Nearest, noise_level
from models.motion.engine import DETAIL, HALF_WEIGHT, LUMA_709, SHARPEN, SOFT
from models.network import checkpoint
from models.network.precision import half
from models.network.unet import LATENT_SCALE, Res, RestorationNet
from models.network.vae import CHANNELS

LEARNED, WIDTH, FUSED = 16, 24, 32  # learned channels of a state at half the size; of the layers
MOST, KEPT = 2.0, 0.5  # weight of the past, in frames; share of the learned past
SCALE = 8.0  # differences of pictures in [0, 1], for the layers


class Shown(NamedTuple):
    """Pictures (B, T, 3, H, W), those before the states, and log odds of a defect (B, T, H, W)."""

    image: Tensor
    first: Tensor
    logits: Tensor


class State(NamedTuple):
    """What passes from frame to frame."""

    mean: Tensor  # of restored pictures along the motion, (B, 3, H, W)
    weight: Tensor  # how many frames that mean counts, (B, 1, H, W)
    learned: Tensor  # (B, LEARNED, H/2, W/2)


class Cell(nn.Module):
    """How a state meets a frame: its weight for every pixel, and what it learns. 0 at first."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.inp = nn.Conv2d(12 + 4 + LEARNED + features, WIDTH, 1)
        self.res = Res(WIDTH)
        self.out = nn.Conv2d(WIDTH, LEARNED + 4, 1)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, past: State, image: Tensor, features: Tensor) -> tuple[State, State]:
        """The past as the frame takes it, and the state that passes on."""
        given = [F.pixel_unshuffle(SCALE * (past.mean - image), 2)]
        given += [F.pixel_unshuffle(past.weight, 2), past.learned, features]
        with half(image.device):
            found = self.out(F.silu(self.res(self.inp(torch.cat(given, 1))))).float()
        learned, gate = found.split([LEARNED, 4], 1)
        weight = past.weight * F.pixel_shuffle(gate, 2).clamp(-4, 1).exp()
        learned = KEPT * past.learned + learned
        mean = (image + weight * past.mean) / (1 + weight)
        taken = State(past.mean, weight, learned)
        return taken, State(mean, (1 + weight).clamp(max=MOST), learned)


class Shot(nn.Module):
    """The shipped network with states that pass through a shot."""

    def __init__(self, net: RestorationNet, passes: bool, sharpens: bool) -> None:
        """``sharpens``: soft noisy frames more than others, as the temporal filter does it."""
        super().__init__()
        self.net, self.passes, self.sharpens = net, passes, sharpens
        if not passes:
            return
        features, old = net.decoder.res2.conv1.in_channels, net.denoiser.inp
        wider = nn.Conv2d(old.in_channels + CHANNELS + 1, old.out_channels, 3, padding=1)
        with torch.no_grad():
            wider.weight.zero_()
            wider.weight[:, : old.in_channels] = old.weight
            wider.bias.copy_(old.bias)
        net.denoiser.inp = wider
        self.ahead, self.behind = Cell(features), Cell(features)
        self.inp = nn.Conv2d(24 + 8 + 2 * LEARNED + features, FUSED, 1)
        self.res = Res(FUSED)
        self.out = nn.Conv2d(FUSED, 12 + 12, 1)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, seen: dict[str, Tensor]) -> Shown:
        """Fields of `seen` are (B, T, ...): window, trust, flow in pixels, believed."""
        window, trust = seen["window"], seen["trust"]
        count, net, device = window.shape[1], self.net, window.device
        flat = window.flatten(0, 1)
        near = Nearest.of(flat, trust.flatten(0, 1))
        levels = net.levels(near)
        known_noise = torch.stack([noise_level(near.one(k)) for k in range(len(flat))])
        known_noise = known_noise.nan_to_num(0.0).float()
        with half(device):
            plane = flat.new_zeros(len(flat), 1, flat.shape[-2] // 4, flat.shape[-1] // 4)
            known = net.condition(flat, trust.flatten(0, 1), plane)
        known = [one.unflatten(0, (-1, count)) for one in (*known, levels)]
        if not self.passes:
            z_d, condition, s2, s4, levels = (one.flatten(0, 1) for one in known)
            image, logits, _ = self._restored(flat[:, 0], z_d, condition, s2, s4, levels)
            image = image.unflatten(0, (-1, count))
            return Shown(image, image, logits.unflatten(0, (-1, count)))
        state, pasts, images, planes, kept = None, [], [], [], []
        for t in range(count):
            z_d, condition, s2, s4, levels = (one[:, t] for one in known)
            past = self._moved(state, seen, t, 0)
            if past is None:
                given = z_d.new_zeros(len(z_d), CHANNELS + 1, *z_d.shape[-2:])
            else:
                given = LATENT_SCALE * (net.vae.encode(past.mean) - z_d.float())
                sure = F.avg_pool2d(seen["believed"][:, t, :1], 4)
                given = torch.cat([given * sure, sure], 1)
            condition = torch.cat([condition, given.to(condition.dtype)], 1)
            image, logits, features = self._restored(
                window[:, t, 0], z_d, condition, s2, s4, levels
            )
            past, state = self.ahead(self._met(past, image, features), image, features)
            pasts.append(past)
            images.append(image)
            planes.append(logits)
            kept.append(features)
        state, behind = None, []
        for t in reversed(range(count)):
            past = self._met(self._moved(state, seen, t, 1), images[t], kept[t])
            past, state = self.behind(past, images[t], kept[t])
            behind.append(past)
        both = [State(*map(torch.cat, zip(*rows, strict=True))) for rows in (pasts, behind[::-1])]
        noisy = known_noise.unflatten(0, (-1, count)).transpose(0, 1).flatten()
        shown = self._fused(torch.cat(images), torch.cat(kept), *both, noisy)
        image = shown.unflatten(0, (count, -1)).transpose(0, 1)
        return Shown(image, torch.stack(images, 1), torch.stack(planes, 1))

    def _restored(
        self, source: Tensor, z_d: Tensor, condition: Tensor, s2: Tensor, s4: Tensor, levels: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Picture, log odds of a defect (B, H, W) and the decoder's features at half the size."""
        net, decoder = self.net, self.net.decoder
        with half(source.device):
            latent, y4 = net.denoiser(z_d, z_d.new_ones(len(z_d)).float(), z_d, condition, levels)
            h = decoder.res4(decoder.inp(torch.cat([latent * LATENT_SCALE, s4, y4], 1)))
            h = F.pixel_shuffle(decoder.up(F.silu(h)), 2)
            h = decoder.res2(decoder.merge(torch.cat([h, s2], 1)))
            out = F.pixel_shuffle(decoder.out(F.silu(h)), 2).float()
        decoded = net.vae.decode(latent.float()) + out[:, :3]
        image = torch.lerp(decoded, source, torch.sigmoid(out[:, 3:4]))
        return image, out[:, 4], h.float()

    def _moved(
        self, state: State | None, seen: dict[str, Tensor], t: int, side: int
    ) -> State | None:
        if state is None:
            return None
        flow = seen["flow"][:, t, side]
        mean = warped(state.mean, flow, "bicubic")
        weight = warped(state.weight, flow) * seen["believed"][:, t, side, None]
        learned = warped(state.learned, F.avg_pool2d(flow, 2) / 2)
        return State(mean, weight, learned)

    def _met(self, past: State | None, image: Tensor, features: Tensor) -> State:
        """The past, which counts as far as it agrees with the frame, as in the temporal filter."""
        if past is None:
            learned = features.new_zeros(len(features), LEARNED, *features.shape[-2:])
            return State(image, torch.zeros_like(image[:, :1]), learned)
        apart = (past.mean - image).detach().abs().mean(1, keepdim=True)
        apart = F.avg_pool2d(F.pad(apart, (2, 2, 2, 2), mode="replicate"), 5, 1)
        agree = 1 / (1 + (255 * apart / HALF_WEIGHT).square())
        return past._replace(weight=past.weight * agree)

    def _fused(
        self, image: Tensor, features: Tensor, ahead: State, behind: State, noise: Tensor
    ) -> Tensor:
        """The mean of the frames and both pasts, sharpened as the temporal filter does it."""
        given = [F.pixel_unshuffle(SCALE * (one.mean - image), 2) for one in (ahead, behind)]
        given += [F.pixel_unshuffle(one.weight, 2) for one in (ahead, behind)]
        given += [ahead.learned, behind.learned, features]
        with half(image.device):
            found = self.out(F.silu(self.res(self.inp(torch.cat(given, 1))))).float()
        found = F.pixel_shuffle(found, 2)
        weights = [
            one.weight * found[:, n : n + 1].clamp(-4, 1).exp()
            for n, one in enumerate((ahead, behind))
        ]
        total = 1 + weights[0] + weights[1]
        mean = (image + weights[0] * ahead.mean + weights[1] * behind.mean) / total
        least, most = NOISE_OF_FULL_BOUND, NOISE_WITHOUT_BOUND
        soft = ((noise - least) / (most - least)).clamp(0, 1) * softness(mean.detach())
        soft = soft * self.sharpens
        share = SHARPEN[0] + (SHARPEN[1] - SHARPEN[0]) * soft[:, None, None, None] + found[:, 2:3]
        detail = (1 - 1 / total) * share * (mean - blurred(mean))
        return mean + detail + found[:, 3:] / SCALE


def blurred(image: Tensor, sigma: float = DETAIL) -> Tensor:
    """A Gaussian blur of pictures (B, C, H, W)."""
    reach, channels = math.ceil(4 * sigma), image.shape[1]
    kernel = torch.exp(-torch.arange(-reach, reach + 1).float().square() / (2 * sigma**2))
    kernel = (kernel / kernel.sum()).repeat(channels, 1)
    image = F.pad(image, (reach, reach, reach, reach), mode="replicate")
    image = F.conv2d(image, kernel[:, None, :, None], groups=channels)
    return F.conv2d(image, kernel[:, None, None, :], groups=channels)


def softness(image: Tensor) -> Tensor:
    """How far frames (B, 3, H, W) lack their finest detail, (B,) in [0, 1] (opencv.py)."""
    luma = (image * torch.tensor(LUMA_709)[:, None, None]).sum(1, keepdim=True)
    once = blurred(luma)
    finest, coarser = (luma - once), (once - blurred(once, 3**0.5 * DETAIL))
    ratio = finest.flatten(1).norm(dim=1) / coarser.flatten(1).norm(dim=1).clamp_min(1e-6)
    begins, wholly = SOFT
    return ((ratio.clamp_min(1e-6).log2() - begins) / (wholly - begins)).clamp(0, 1)


def fresh(kind: str) -> Shot:
    """The network before its first step: `both`, `plain` or `alone`; see shot_joint.py."""
    torch.manual_seed(7)
    net = checkpoint.load(checkpoint.shipped("base")).requires_grad_(True)
    return Shot(net, kind != "alone", kind == "both").to(memory_format=torch.channels_last)
