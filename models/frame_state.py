"""The value that crosses the stages of `models.restorer`: one frame and all that is known of it.

Values only. PyTorch and OpenCV are not imported here, so that code without a network can use them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor

    from models.colour import PixelFormat
    from models.fidelity.compared import Landed
    from models.fidelity.decision import Facts
    from models.fidelity.regions import Seen

Image = NDArray[np.float32]  # (H, W, 3) RGB in [0, 1]
NOWHERE = np.float32(np.nan)  # every value of a picture that is not on the CPU
Box = tuple[int, int, int, int]  # x, y, width, height in pixels of the picture
# Why a region is repaired or left; `schemas.repairs.WHY` has a sentence for each.
Why = Literal[
    "clear", "one_frame", "upright", "unlike_dust", "path", "lone", "edge", "swarm", "accepted",
    "standing", "rim", "apart", "ridge",
]  # fmt: skip

# What happens to regions that may be real: left, repaired if they are upright lines, all repaired.
Suspects = Literal["leave", "scratches", "repair"]


@dataclass(frozen=True)
class Curve:
    """Exposure correction of one frame: ``y = gain * x ** gamma`` on values in [0, 1]."""

    gain: float = 1.0
    gamma: float = 1.0

    def __call__(self, image: Image) -> Image:
        if self.gain == 1.0 and self.gamma == 1.0:
            return image
        import cv2  # here only: code that reads these values need not load it

        corrected: Image = cv2.pow(np.maximum(image, 0), self.gamma)
        return corrected * np.float32(self.gain)


class AlignedWindow(NamedTuple):
    """A frame and its neighbours warped onto it."""

    frames: Tensor  # (1 + neighbours, 3, H, W), centre first
    trust: Tensor  # confidence in each neighbour's match, (neighbours, H, W) in [0, 1]
    offsets: tuple[int, ...]  # of the neighbours that the shot has, in frames


class Decoded(NamedTuple):
    """The planes of a frame as they were decoded, and how its change is added to them."""

    planes: tuple[NDArray[Any], ...]  # (h, w) uint8 or uint16
    pixels: PixelFormat
    strength: float = 1.0  # share of the change
    monochrome: bool = False  # chroma does not change

    @property
    def image(self) -> Image:
        """The picture of the planes."""
        return self.pixels.to_rgb(self.planes)

    def applied(self, image: Image) -> tuple[NDArray[Any], ...]:
        """The planes with the change from their own picture to another."""
        return self.pixels.apply(self.planes, self.image, image, self.strength, self.monochrome)


class OnDevice(NamedTuple):
    """The pictures of a frame as tensors (3, H, W), where the network is."""

    source: Tensor
    image: Tensor
    neighbours: Tensor | None = None  # mean of both, aligned, in the frame's exposure
    grain: Tensor | None = None  # as `FrameState.grain`; None: no pixel lacks its own


class Repair(NamedTuple):
    """A region that the network would repair, and what was decided about it."""

    box: Box
    area: int  # pixels
    bright: bool  # brighter than its repair, else darker
    change: float  # mean absolute difference from its repair, code values (mean of RGB)
    decision: Literal["repair", "suspect"]  # a suspect keeps the source
    why: Why
    probability: float | None = None  # of a defect, by its measures; None: nothing was measured
    crowd: int | None = None  # regions around it that are unlike dust; None: they were not counted


class Scratch(NamedTuple):
    """A scratch that stands still in frames [start, stop). Pixels of the frame."""

    start: int
    stop: int
    x: float  # middle of the line
    top: int
    bottom: int  # the first row below it
    width: int  # of what may be changed
    bright: bool
    depth: float  # code values that it adds or takes, nearly everywhere along its length

    @property
    def box(self) -> Box:
        """The pixels that may be changed."""
        reach = max(int(self.width) // 2, 1)
        return round(self.x) - reach, self.top, 2 * reach + 1, self.bottom - self.top

    def of_field(self, parity: int) -> Scratch:
        """The scratch in the fields of one parity."""
        top, bottom = (max(-(-(row - parity) // 2), 0) for row in (self.top, self.bottom))
        return self._replace(top=top, bottom=bottom)


@dataclass(frozen=True)
class Rung:
    """Where the network runs: the device and the side of its tiles in pixels; 0 is whole frames."""

    device: str
    side: int
    batch: int = 1  # windows at once; more than 1 are of whole frames

    def __str__(self) -> str:
        tiles = f"tiles of {self.side} pixels" if self.side else "whole frames"
        batches = f"batches of {self.batch} " if self.batch > 1 else ""
        return f"{batches}{tiles} on {self.device}"


@dataclass(frozen=True)
class FrameState:
    """One frame on its way through the stages.

    A stage returns a copy with its own fields filled (`dataclasses.replace`).
    """

    index: int  # number of the frame in its clip
    source: Image  # what the network gets: the frame as read, then with its exposure corrected
    image: Image  # the picture as the last stage left it
    payload: object = None  # of the caller; no stage reads it
    # In place of a picture, for an engine to read: until `Engine.raised` the pictures are NOWHERE.
    decoded: Decoded | None = None
    # Of the tensor engine, from `Engine.raised` to `Engine.lowered`: in between `source` and
    # `image` above are older.
    on_device: OnDevice | None = None
    # deflicker
    curve: Curve = Curve()
    # scratches: `source` and `image` are without those that stand still through the shot
    scratched: NDArray[np.float32] | None = None  # where they were, (H, W) in [0, 1]
    scratches: tuple[Repair, ...] = ()
    # alignment; the network stage drops the window, which is most of a frame's memory
    window: AlignedWindow | None = None
    # network
    rung: Rung | None = None
    source_share: float = 1.0  # mean alpha: share of the source in each pixel
    defect_share: float = 0.0  # share of the pixels with a scratch, dust or a blotch
    defects: Tensor | None = None  # how far each pixel counts as a defect, (H, W) in [0, 1]
    noise: float | None = None  # standard deviation in code values; None: not known
    predicted_error: float = 0.0  # mean error of the source, code values
    # The frame is compared with the frame before and after, at a shot's end with two on one side.
    differences: Tensor | None = None  # brighter than each of both, code values, (2, H, W)
    neighbours: Image | None = None  # mean of both, aligned
    compared: Landed | None = None  # of the tensor engine, instead of these two
    seen: Seen | None = None  # what stands out of both, if it was looked for before the network
    places: tuple[Box, ...] | None = None  # where the network's picture counts; None: everywhere
    noise_weight: float = 0.0  # how far the frame is noisy, in [0, 1]
    filter_share: float = 0.0  # how far the frame may be filtered over time, in [0, 1]
    # evidence
    facts: Facts | None = None  # what the decisions rest on
    suspects: NDArray[np.bool_] | None = None  # repairs that may be real things, (H, W)
    fill: NDArray[np.float32] | None = None  # weight of the neighbours in the picture, (H, W)
    repairs: tuple[Repair, ...] = ()  # every region that the network would repair, and suspects
    # grain
    grain: Image | None = None  # what the network took, without what it repaired, (H, W, 3)
    # at the end, of a frame that was `decoded`
    planes: tuple[NDArray[Any], ...] | None = None  # with the change
    finite: bool = True  # whether the picture was numbers

    @classmethod
    def read(cls, index: int, image: Image, payload: object = None) -> Self:
        """A frame (H, W, 3) before the first stage."""
        sound = np.require(image, requirements=["C", "W"])  # PyTorch shares its memory
        return cls(index, sound, sound, payload)

    @property
    def has_picture(self) -> bool:
        """Whether `source` is a picture: not NOWHERE."""
        return any(self.source.strides)

    @classmethod
    def of_planes(cls, index: int, decoded: Decoded, payload: object = None) -> Self:
        """A frame before the first stage, whose planes the engine reads."""
        nowhere = np.broadcast_to(NOWHERE, (*decoded.planes[0].shape, 3))
        return cls(index, nowhere, nowhere, payload, decoded)


def number_frames(images: Iterable[Image], first: int = 0) -> Iterator[FrameState]:
    """The frames (H, W, 3) of one shot, numbered from ``first``, as states without a result."""
    for index, image in enumerate(images, start=first):
        yield FrameState.read(index, image)
