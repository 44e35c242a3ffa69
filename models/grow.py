"""A wider network that begins as a trained narrow one: the same pictures, with room to learn.

Net2WiderNet and Net2DeeperNet (Chen, Goodfellow and Shlens, ICLR 2016), with new channels drawn at
random instead of doubled: what reads them starts at zero, so nothing changes until it is trained.
"""

from __future__ import annotations

import torch
from torch import Tensor

from models.network import SIZES, RestorationNet, Size


@torch.no_grad()
def grown(net: RestorationNet, size: str, severe: bool = False) -> RestorationNet:
    """A network of ``size`` that computes what ``net`` computes; ValueError if it has less of
    anything.
    """
    wide = RestorationNet(size, net.channels, severe)
    state = wide.state_dict()
    for name, value in net.state_dict().items():
        room = state[name].shape if name in state else ()
        if len(room) != value.ndim or any(a > b for a, b in zip(value.shape, room, strict=True)):
            raise ValueError(f"a {size!r} network has no room for a {net.size!r} one ({name})")
        _embed(name, value, state[name], _parts(name, net), _parts(name, wide))
    wide.load_state_dict(state)
    return wide


def _parts(name: str, net: RestorationNet) -> tuple[tuple[int, ...] | None, tuple[int, ...] | None]:
    """How the outputs and the inputs of a layer are joined from several tensors, None from one."""
    size: Size = SIZES[net.size]
    if ".film." in name:  # scale and shift
        half = net.state_dict()[name].shape[0] // 2
        return (half, half), None
    if name == "decoder.inp.weight":  # latent, s4, the denoiser's features
        return None, (net.channels, size.quarter, size.levels[0])
    if name == "decoder.merge.weight":  # upsampled features, s2
        return None, (size.half, size.half)
    return None, None  # denoiser.inp too: only s4, its last input, grows


def _embed(
    name: str,
    value: Tensor,
    target: Tensor,
    small: tuple[tuple[int, ...] | None, ...],
    large: tuple[tuple[int, ...] | None, ...],
) -> None:
    """Write ``value`` into ``target`` in place; what the old outputs would read of new inputs
    becomes 0.
    """
    if value.ndim == 0 or name.startswith("vae."):
        target.copy_(value)
        return
    rows = _places(value.shape[0], target.shape[0], small[0], large[0])
    if value.ndim == 1:
        target[rows] = value
        return
    columns = _places(value.shape[1], target.shape[1], small[1], large[1])
    target[rows] = 0
    target[rows[:, None], columns[None]] = value


def _places(
    count: int, room: int, small: tuple[int, ...] | None, large: tuple[int, ...] | None
) -> Tensor:
    """Where the ``count`` channels of the narrow layer lie among the ``room`` of the wide one."""
    places, start = [], 0
    for narrow, wide in zip(small or (count,), large or (room,), strict=True):
        places.append(torch.arange(start, start + narrow))
        start += wide
    return torch.cat(places)
