"""What the stages that follow motion compute with: OpenCV on a CPU, tensors on a GPU.

The stages are written once. What they do to pixels is in an engine, with one meaning and two forms
(docs/decisions/0015-two-engines-one-meaning.md): `models.motion.opencv` and
`models.motion.tensors`. The numbers of that meaning are here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from models.frame_state import FrameState, Image

if TYPE_CHECKING:
    from torch import Tensor

# An engine's own array. Of OpenCV: pictures (H, W, 3), flows (H, W, 2), planes (H, W).
# Of tensors: pictures (3, H, W), flows (2, H, W), planes (H, W), on the device.
Array = Any
Search = Callable[[Array, Array], Array]  # flow in pixels, x first, from one luma to another

LUMA_709 = np.array([0.2126, 0.7152, 0.0722], np.float32)  # ITU-R BT.709

MISMATCH = 14.0  # mean |difference| in code values over 7x7 pixels from which a match is replaced
MATCHED_SHARE = 0.02, 0.998  # shares of matched pixels between which bad matches are replaced
RESIDUAL_SIDE = 7  # pixels: side of the square over which a match is compared
HALF_TRUST = 7.0  # code values of difference at which a match has half the confidence
EDGE = 8  # pixels from an edge of the frame in which a line may stay while the picture moves
EDGE_RUN = 7  # pixels along an edge over which a match is compared
FILL_SIGMA = 14.0  # pixels over which flow is spread into places without a match

HALF_WEIGHT = 3.5  # code values of difference at which a neighbour has half the frame's own weight
AVERAGED = 5  # pixels: side of the square over which the difference is averaged
SHARPEN = 0.25, 1.25  # share of an average's detail added back: always, and in soft noisy frames
DETAIL = 0.8  # sigma in pixels: detail is what this blur removes
SOFT = -0.35, -0.6  # log2 of detail over the next octave's: a frame begins to be soft, is soft


class Engine(Protocol):
    """What is done to pixels."""

    def raised(self, frames: Iterable[FrameState]) -> Iterator[FrameState]:
        """The frames in order, with their pictures where the engine works, from their planes if
        they are `decoded`.
        """

    def lowered(self, frames: Iterable[FrameState]) -> Iterator[FrameState]:
        """The frames in order, with their last pictures on the CPU again; the planes instead, if
        they were `decoded`.
        """

    def source(self, frame: FrameState) -> Array:
        """The picture that the network gets."""

    def image(self, frame: FrameState) -> Array:
        """The picture as the last stage left it."""

    def with_image(self, frame: FrameState, image: Array) -> FrameState:
        """The frame with another picture."""

    def picture(self, image: Image) -> Array:
        """A picture (H, W, 3) as the engine's own."""

    def luma(self, picture: Array, sigma: float) -> Array:
        """Luma of a picture in whole code values, (H, W), blurred by ``sigma`` pixels."""

    def search(self, preset: str) -> Search:
        """Flow search of a preset (`models.motion.flow.flow_search`)."""

    def warp(self, array: Array, flow: Array, cubic: bool = False) -> Array:
        """A picture, a flow or a plane sampled at ``x + flow(x)``: bilinear, or ``cubic``, which
        keeps the finest detail. Edges are replicated.
        """

    def matched(self, centre: Array, other: Array, flow: Array) -> tuple[Array, Array]:
        """Flow between two lumas with bad matches replaced by the flow around them, and how far
        each pixel's match is trusted, (H, W) in [0, 1].
        """

    def keep_edges(self, centre: Array, warped: Array, still: Array) -> Array:
        """The neighbour ``warped`` onto ``centre``, near the edges as it was if that fits better.

        Transfers of film often have a dark or half dark line at an edge. It stays while the picture
        moves, so the flow of the picture would tear it away. ``still`` is the neighbour before it
        was warped. ``warped`` may be changed.
        """

    def weighted_mean(
        self, image: Array, others: Iterable[tuple[Array, Array]]
    ) -> tuple[Array, Array]:
        """Weighted mean of pictures, and the sum of the weights (H, W).

        The image's weight is 1; each of the others comes with its weight (H, W).
        """

    def agreement(self, here: Array, there: Array) -> Array:
        """Weight (H, W) of a neighbour in a mean by the difference of the channels."""

    def sharpened(self, mean: Array, weight: Array, noise_weight: float) -> Array:
        """A mean of pictures with detail added back where it is of several.

        The more ``noise_weight`` and the softer the picture, the more of it. ``mean`` may be
        changed.
        """

    def blended(self, image: Array, other: Array, share: float) -> Array:
        """A picture with a ``share`` of another."""

    def zeros(self, luma: Array) -> Array:
        """A plane (H, W) of zeros, of the size of a luma."""

    def stacked(self, planes: list[Array]) -> Array:
        """Planes (N, H, W) of N planes."""

    def window(self, pictures: list[Array], trust: Array) -> tuple[Tensor, Tensor]:
        """Pictures (N, 3, H, W) and trust (N - 1, H, W) for the network, where the engine works."""


def confidence(error: Array, half: float = HALF_TRUST) -> Array:
    """Confidence: 1 where blurred frames agree, 0.5 at a residual of ``half`` code values, then
    falling to 0.
    """
    return 1.0 / (1.0 + (error / half) ** 2)
