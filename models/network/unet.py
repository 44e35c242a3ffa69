"""The restoration network: frame encoder, bridge denoiser, decoder conditioned by skips.

Without normalisation: a spatial statistic would make tile seams and flicker. Dense 3x3 convolutions
only: depthwise ones are slower on a CPU for the same result.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.fidelity.damage_level import FEATURES, Nearest, damage_level
from models.motion.alignment import OFFSETS
from models.network import bridge
from models.network.sizes import SIZES, ModelSize
from models.network.vae import CHANNELS, LinearVAE

LATENT_SCALE = 4.0  # brings orthonormal latents of [0, 1] images to unit order for the network
MULTIPLE = 16  # frame sides are padded to a multiple of this
DECODER_REACH = 20  # pixels each side that a pixel of the pixel decoder depends on


@dataclass(frozen=True)
class NetworkOutput:
    """Result of the network for a batch of windows."""

    image: Tensor  # (B, 3, H, W)
    latent: Tensor  # estimate of the clean latent, (B, channels, H/4, W/4)
    defect_logits: Tensor  # (B, 1, H, W): scratches, dust and blotches
    alpha: Tensor  # (B, 1, H, W) in [0, 1]: share of the source in each output pixel
    error: Tensor  # (B, 1, H, W): predicted error of the source, on the scale of `error_scale`


class Denoised(NamedTuple):
    """A batch of frames that are restored but for the last part of the network, the pixel decoder.

    The decoder costs a third of the time and looks DECODER_REACH far, the rest of the network looks
    further. So it may run for parts of a frame.
    """

    source: Tensor  # the centre frames, (B, 3, H, W)
    latent: Tensor  # estimate of the clean latent, (B, channels, H/4, W/4)
    features: Tensor  # of the denoiser, (B, w4, H/4, W/4)
    s2: Tensor  # of the encoder, (B, half, H/2, W/2)
    s4: Tensor  # (B, quarter, H/4, W/4)

    def part(self, y: slice, x: slice) -> Denoised:
        """A part of the frames, in pixels; multiples of 4."""

        def cut(plane: Tensor, scale: int) -> Tensor:
            rows, columns = (slice(s.start // scale, s.stop // scale) for s in (y, x))
            return plane[..., rows, columns]

        return Denoised(*(cut(p, s) for p, s in zip(self, (1, 4, 4, 2, 4), strict=True)))


class Res(nn.Module):
    """conv - SiLU - conv with a skip; with an embedding, FiLM on it."""

    def __init__(self, width: int, embedding: int = 0) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, 3, padding=1)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)
        nn.init.zeros_(self.conv2.weight)
        nn.init.zeros_(self.conv2.bias)  # type: ignore[arg-type]
        self.film = nn.Linear(embedding, 2 * width) if embedding else None

    def forward(self, x: Tensor, e: Tensor | None = None) -> Tensor:
        if self.film is None or e is None:
            h = self.conv1(x)
        elif len(e) == 1:  # one time for all: FiLM in the kernels costs nothing
            scale, shift = self.film(e[0]).chunk(2)
            weight, bias = self.conv1.weight, self.conv1.bias
            h = F.conv2d(
                x, weight * (1 + scale)[:, None, None, None], bias * (1 + scale) + shift, padding=1
            )
        else:
            scale, shift = self.film(e)[:, :, None, None].chunk(2, dim=1)
            h = self.conv1(x) * (1 + scale) + shift
        return _added(self.conv2(_silu(h)), x)


class Encoder(nn.Module):
    """Features of the degraded centre frame at half and quarter resolution."""

    def __init__(self, size: ModelSize) -> None:
        super().__init__()
        self.inp = nn.Conv2d(12, size.half, 3, padding=1)
        self.res2 = Res(size.half)
        self.down = nn.Conv2d(size.half, size.quarter, 3, stride=2, padding=1)
        self.res4 = Res(size.quarter)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        s2 = self.res2(self.blocks(image - 0.5))  # (B, half, H/2, W/2)
        s4 = self.res4(self.down(F.silu(s2)))  # (B, quarter, H/4, W/4)
        return s2, s4

    def blocks(self, image: Tensor) -> Tensor:
        """``inp`` of the image's 2x2 blocks (pixel_unshuffle), as one convolution with stride 2."""
        kernels = self.inp.weight.reshape(-1, 3, 2, 2, 3, 3)  # (half, 3, y, x in the block, 3, 3)
        kernels = kernels.permute(0, 1, 4, 2, 5, 3).flatten(4, 5).flatten(2, 3)
        return F.conv2d(image, kernels, self.inp.bias, stride=2, padding=2)


class DamageLevelEmbedding(nn.Module):
    """Damage levels of the frame (B, FEATURES) as an addition to the time embedding; 0 at first.

    `models.fidelity.damage_level` measures them.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.inp = nn.Linear(FEATURES, width)
        self.out = nn.Linear(width, width)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, levels: Tensor) -> Tensor:
        added: Tensor = self.out(F.silu(self.inp(levels)))
        return added


class Denoiser(nn.Module):
    """U-Net over latents at 1/4, 1/8 and 1/16: predicts the clean latent as z_d plus a residual."""

    EMBEDDING = 64

    def __init__(self, size: ModelSize, channels: int, severe: bool) -> None:
        super().__init__()
        w4, w8, w16 = size.levels
        n = len(OFFSETS)
        inputs = channels * (2 + n) + n + 1 + size.quarter  # z_t, z_d, neighbours, trust, kappa, s4
        self.embed = nn.Sequential(nn.Linear(self.EMBEDDING, self.EMBEDDING), nn.SiLU())
        # the weights files hold this name
        self.severity = DamageLevelEmbedding(self.EMBEDDING) if severe else None
        self.inp = nn.Conv2d(inputs, w4, 3, padding=1)
        self.enc4 = self._level(w4, size.blocks)
        self.down8 = nn.Conv2d(w4, w8, 3, stride=2, padding=1)
        self.enc8 = self._level(w8, size.blocks)
        self.down16 = nn.Conv2d(w8, w16, 3, stride=2, padding=1)
        self.mid = self._level(w16, size.blocks)
        self.up8 = nn.Conv2d(w16, 4 * w8, 1)
        self.dec8 = self._level(w8, size.blocks)
        self.up4 = nn.Conv2d(w8, 4 * w4, 1)
        self.dec4 = self._level(w4, size.blocks)
        self.out = nn.Conv2d(w4, channels, 3, padding=1)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)  # type: ignore[arg-type]

    def _level(self, width: int, blocks: int) -> nn.ModuleList:
        return nn.ModuleList(Res(width, self.EMBEDDING) for _ in range(blocks))

    def forward(
        self, z_t: Tensor, t: Tensor, z_d: Tensor, condition: Tensor, levels: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Estimate of z (B, channels, H/4, W/4) and the last features (B, w4, H/4, W/4)."""
        e = self.embed(time_embedding(t, self.EMBEDDING).to(z_t.dtype))
        if self.severity is not None:
            e = e + self.severity(levels.to(z_t.dtype))
        x4 = _through(
            self.enc4,
            self.inp(_joined(z_t * LATENT_SCALE, z_d * LATENT_SCALE, condition)),
            e,
        )
        x8 = _through(self.enc8, self.down8(x4), e)
        x16 = _through(self.mid, self.down16(x8), e)
        y8 = _through(self.dec8, _added(F.pixel_shuffle(self.up8(x16), 2), x8), e)
        y4 = _through(self.dec4, _added(F.pixel_shuffle(self.up4(y8), 2), x4), e)
        return z_d + self.out(F.silu(y4)) / LATENT_SCALE, y4


class PixelDecoder(nn.Module):
    """From the latent and the degraded frame's features to pixels: residual (B, 3, H, W), source
    share, defect map and the source's error (B, 1, H, W).
    """

    def __init__(self, size: ModelSize, channels: int) -> None:
        super().__init__()
        w4 = size.levels[0]
        self.inp = nn.Conv2d(channels + size.quarter + w4, size.quarter, 3, padding=1)
        self.res4 = Res(size.quarter)
        self.up = nn.Conv2d(size.quarter, 4 * size.half, 1)
        self.merge = nn.Conv2d(2 * size.half, size.half, 3, padding=1)
        self.res2 = Res(size.half)
        self.out = nn.Conv2d(size.half, 4 * 6, 3, padding=1)
        nn.init.zeros_(self.out.weight)
        bias = torch.tensor([0.0, 0.0, 0.0, -2.0, -3.0, 0.0])  # RGB residual, alpha, defect, error
        self.out.bias = nn.Parameter(bias.repeat_interleave(4))

    def forward(
        self, z: Tensor, features: Tensor, s2: Tensor, s4: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        h = self.res4(self.inp(_joined(z * LATENT_SCALE, s4, features)))
        h = F.pixel_shuffle(self.up(_silu(h)), 2)
        h = self.res2(self.merge(_joined(h, s2)))
        out = F.pixel_shuffle(self.out(_silu(h)), 2)  # (B, 6, H, W)
        return out[:, :3], out[:, 3:4], out[:, 4:5], out[:, 5:6]


class RestorationNet(nn.Module):
    """The whole network, from five aligned frames to one restored frame (``docs/model.md``).

    ``severe``: the damage levels of the frame condition the denoiser. The weights files hold this
    name.
    """

    def __init__(self, size: str = "fast", channels: int = CHANNELS, severe: bool = False) -> None:
        super().__init__()
        self.size, self.channels, self.severe = size, channels, severe
        self.vae = LinearVAE(channels)
        self.encoder = Encoder(SIZES[size])
        self.denoiser = Denoiser(SIZES[size], channels, severe)
        self.decoder = PixelDecoder(SIZES[size], channels)

    def condition(
        self, window: Tensor, trust: Tensor, kappa: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """z_d, conditioning planes and skips s2, s4 of a window, centre first.

        window is (B, 1 + neighbours, 3, H, W), trust (B, neighbours, H, W) in [0, 1], kappa
        (B, 1, H/4, W/4).
        """
        b, n = window.shape[:2]
        latents = self.vae.encode(window.flatten(0, 1)).reshape(
            b, n, self.channels, window.shape[-2] // 4, -1
        )
        s2, s4 = self.encoder(window[:, 0])
        around = (latents[:, k] * LATENT_SCALE for k in range(1, n))
        condition = _joined(*around, F.avg_pool2d(trust, 4), kappa, s4)
        return latents[:, 0], condition, s2, s4

    def decode(self, found: Denoised) -> NetworkOutput:
        """``alpha * source + (1 - alpha) * decoded``.

        ``decoded`` is the linear decoder's image plus the residual of the pixel decoder.
        """
        latent = found.latent
        residual, share, defect, error = self.decoder(latent, found.features, found.s2, found.s4)
        alpha = torch.sigmoid(share.float())
        decoded = self.vae.decode(latent.float()) + residual.float()
        image = torch.lerp(decoded, found.source, alpha)
        return NetworkOutput(image, latent, defect.float(), alpha, error.float())

    def forward(
        self,
        window: Tensor,
        trust: Tensor,
        t: Tensor,
        eps: Tensor,
        clean: Tensor,
        kappa: Tensor,
        levels: Tensor | None = None,
    ) -> NetworkOutput:
        """One training evaluation: noise the clean latent to time t and predict it
        (models/network/bridge.py). Without ``levels`` the damage levels are measured.
        """
        z_d, condition, s2, s4 = self.condition(window, trust, kappa)
        z_t = bridge.noised(self.vae.encode(clean), z_d, t, kappa, eps)
        levels = self.levels(Nearest.of(window, trust)) if levels is None else levels
        latent, features = self.denoiser(z_t, t, z_d, condition, levels)
        return self.decode(Denoised(window[:, 0], latent, features, s2, s4))

    def levels(self, near: Nearest) -> Tensor:
        """Damage levels of whole frames as input (B, FEATURES); zeros if the network has none."""
        return damage_level(near) if self.severe else near.luma.new_zeros(len(near.luma), FEATURES)

    @torch.inference_mode()
    def restore(
        self,
        window: Tensor,
        trust: Tensor,
        steps: int,
        kappa: float,
        seed: bridge.Noise | int,
        levels: Tensor | None = None,
    ) -> NetworkOutput:
        """Restore the centre frame of a window, as `denoised` takes it."""
        return self.decode(self.denoised(window, trust, steps, kappa, seed, levels))

    @torch.inference_mode()
    def denoised(
        self,
        window: Tensor,
        trust: Tensor,
        steps: int,
        kappa: float,
        seed: bridge.Noise | int,
        levels: Tensor | None = None,
    ) -> Denoised:
        """All but the pixel decoder, for the centre frame of a window (B, 1 + neighbours, 3, H, W).

        Sides must be multiples of MULTIPLE. ``seed`` is the sampler's seed, or its noise itself.
        ``levels`` are the damage levels of the whole frame; give them if the window is a tile.
        """
        levels = self.levels(Nearest.of(window, trust)) if levels is None else levels
        b, _, _, height, width = window.shape
        plane = window.new_full((b, 1, height // 4, width // 4), kappa)
        z_d, condition, s2, s4 = self.condition(window, trust, plane)
        features = [z_d]

        def denoise(z_t: Tensor, t: Tensor) -> Tensor:
            z0, features[0] = self.denoiser(z_t, t, z_d, condition, levels)
            return z0

        size = height // 4, width // 4
        noise = bridge.Noise(seed, size) if isinstance(seed, int) else seed
        latent = bridge.sample(denoise, z_d, steps, kappa, noise)
        return Denoised(window[:, 0], latent, features[0], s2, s4)


def time_embedding(t: Tensor, width: int) -> Tensor:
    """Sinusoidal embedding of t in [0, 1], (B,) -> (B, width).

    Vaswani et al., "Attention is all you need", 2017, section 3.5.
    """
    half = width // 2
    rates = torch.exp(torch.arange(half, device=t.device) * (-math.log(1000.0) / (half - 1)))
    angles = 1000.0 * t[:, None] * rates[None]
    return torch.cat([angles.sin(), angles.cos()], 1)


def _joined(*planes: Tensor) -> Tensor:
    """Planes (B, C_i, H, W) as one tensor in channels_last, the layout of the convolutions."""
    rows = [p.permute(0, 2, 3, 1).contiguous() for p in planes]
    return torch.cat(rows, -1).permute(0, 3, 1, 2)


def _silu(x: Tensor) -> Tensor:
    """SiLU of a tensor with no other use: in place, unless a gradient needs the original."""
    return F.silu(x, inplace=not torch.is_grad_enabled())


def _added(x: Tensor, y: Tensor) -> Tensor:
    """x + y for an x with no other use: in place, unless a gradient needs the original."""
    return x + y if torch.is_grad_enabled() else x.add_(y)


def _through(blocks: nn.ModuleList, x: Tensor, e: Tensor) -> Tensor:
    for block in blocks:
        x = block(x, e)
    return x
