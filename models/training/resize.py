"""A network that starts from a trained one of another size.

A wider or deeper network gives the same pictures and can learn more: Net2WiderNet and Net2DeeperNet
(Chen, Goodfellow and Shlens, ICLR 2016), with new channels drawn at random instead of doubled. The
weights that read new channels start at zero. A narrower network keeps the channels whose weights
have the largest norm (Li et al., "Pruning filters for efficient ConvNets", ICLR 2017), and needs
more training.
"""

from __future__ import annotations

import torch
from torch import Tensor

from models.network.sizes import SIZES
from models.network.unet import RestorationNet

# For each layer the tensors it reads and the one it writes. "" stands for channels that are the
# same in every size.
LAYERS = {
    "encoder.inp": (("",), "s2"),
    "encoder.down": (("s2",), "s4"),
    "denoiser.inp": (("", "s4"), "x4"),  # latents, trust and kappa; the frame's features
    "denoiser.down8": (("x4",), "x8"),
    "denoiser.down16": (("x8",), "x16"),
    "denoiser.up8": (("x16",), "x8"),
    "denoiser.up4": (("x8",), "x4"),
    "denoiser.out": (("x4",), ""),
    "decoder.inp": (("", "s4", "x4"), "y4"),  # latent; the frame's and the denoiser's features
    "decoder.up": (("y4",), "up"),
    "decoder.merge": (("up", "s2"), "y2"),
    "decoder.out": (("y2",), ""),
}
LEVELS = {  # residual blocks, and the tensor that they are added to
    "encoder.res2": "s2",
    "encoder.res4": "s4",
    "denoiser.enc4": "x4",
    "denoiser.enc8": "x8",
    "denoiser.mid": "x16",
    "denoiser.dec8": "x8",
    "denoiser.dec4": "x4",
    "decoder.res4": "y4",
    "decoder.res2": "y2",
}
SHUFFLED = ("denoiser.up8", "denoiser.up4", "decoder.up")  # four outputs become one channel

Axes = list[tuple[str, ...]]  # names of the tensors along the outputs, then along the inputs


@torch.no_grad()
def resized(net: RestorationNet, size: str, severe: bool = False) -> RestorationNet:
    """A network of ``size`` with as many of the weights of ``net`` as it has room for.

    Raises ValueError if damage levels are an input of ``net`` and not of the new network.
    """
    if net.severe and not severe:
        raise ValueError("the starting weights take damage levels as input: set severe = true")
    result = RestorationNet(size, net.channels, severe)
    old, new = net.state_dict(), result.state_dict()
    for name in old.keys() & new.keys():
        value, target = old[name], new[name]
        layer = name.rpartition(".")[0]
        axes = [
            _places(along, target.shape[k], net, size, _each(layer, k))
            for k, along in enumerate(_axes(layer)[: value.ndim])
        ]
        if not axes:
            target.copy_(value)
        elif value.ndim == 1:
            kept, rows = axes[0]
            target[rows] = value[kept]
        else:
            (kept, rows), (read, columns) = axes
            target[rows] = 0  # old channels read nothing from new ones
            target[rows[:, None], columns] = value[kept[:, None], read]
    result.load_state_dict(new)
    return result


def _axes(layer: str) -> Axes:
    """Tensors along the axes of a layer's weights; empty for a layer that no size changes."""
    if layer in LAYERS:
        reads, writes = LAYERS[layer]
        return [(writes,), reads]
    block, _, kind = layer.rpartition(".")
    for level, outer in LEVELS.items():
        if block.startswith(level):
            inner = f"{outer} {block}"
            axes: dict[str, Axes] = {
                "conv1": [(inner,), (outer,)],
                "conv2": [(outer,), (inner,)],
                "film": [(inner, inner), ("",)],  # scale and shift
            }
            return axes[kind]
    return []


def _each(layer: str, axis: int) -> int:
    """Places of one channel along an axis of a layer's weights."""
    return 4 if axis == 0 and layer in SHUFFLED else 1


def _width(name: str, size: str) -> int:
    """Channels of a tensor in a network of ``size``; 0 for channels that no size changes."""
    widths = SIZES[size]
    half, quarter = widths.half, widths.quarter
    x4, x8, x16 = widths.levels
    channels = {"": 0, "s2": half, "up": half, "y2": half, "s4": quarter, "y4": quarter}
    channels |= {"x4": x4, "x8": x8, "x16": x16}
    return channels[name.partition(" ")[0]]


def _places(
    along: tuple[str, ...], room_in_all: int, net: RestorationNet, size: str, each: int
) -> tuple[Tensor, Tensor]:
    """The places along an axis that are kept, and their new places out of ``room_in_all``."""
    olds, news, old, new = [], [], 0, 0
    for name in along:
        if name:
            kept, room = _kept(name, net, size), _width(name, size)
        else:  # the channels that no size changes
            room = room_in_all - sum(_width(other, size) for other in along)
            kept = torch.arange(room)
        inner = torch.arange(each)
        olds.append((each * (old + kept)[:, None] + inner).flatten())
        news.append((each * (new + torch.arange(len(kept)))[:, None] + inner).flatten())
        old += _width(name, net.size) if name else room
        new += room
    return torch.cat(olds), torch.cat(news)


def _kept(name: str, net: RestorationNet, size: str) -> Tensor:
    """The channels of a tensor that a network of ``size`` keeps, in order.

    All if it has room for them, else those whose weights have the largest norm.
    """
    before, after = _width(name, net.size), _width(name, size)
    if before <= after:
        return torch.arange(before)
    strength = torch.zeros(before)
    for parameter, value in net.state_dict().items():
        layer = parameter.rpartition(".")[0]
        for axis, along in enumerate(_axes(layer)[: value.ndim]):
            each, start = _each(layer, axis), value.shape[axis]
            squares = value.square().movedim(axis, 0).reshape(start, -1).sum(1)
            for other in reversed(along):  # channels that no size changes come first
                start -= each * _width(other, net.size)
                if other == name:
                    strength += squares[start : start + each * before].reshape(before, each).sum(1)
    return strength.topk(after).indices.sort().values
