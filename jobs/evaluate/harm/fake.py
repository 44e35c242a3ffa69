"""A model whose pictures an adversary makes, in the place of the real one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from jobs.evaluate.harm.adversaries import Adversary, Spoiled
from models.frame_state import Curve, FrameState, Image, Rung
from models.motion.opencv import OPENCV
from models.network import checkpoint
from models.restorer import Restored, Restorer
from pipeline.restore import ShardRestorer
from pipeline.stages import Restorers
from schemas.recipe import Recipe

LEAST_SEEN = 4 / 255  # mean change of the spoiled place, below which nothing was spoiled


class FakeModel(Restorer):
    """Gives for each shot what the adversary makes of it. It has no network."""

    def __init__(self, adversary: Adversary) -> None:
        self.device = checkpoint.device_default()
        self.adversary = adversary
        self.spoiled: Spoiled | None = None
        self.change = 0.0  # mean absolute change of the spoiled frames, in their box

    def run(self, frames: Iterator[FrameState], **wishes: Any) -> Iterator[Restored]:  # noqa: ANN401
        """The frames of the shot, spoiled."""
        read = list(OPENCV.raised(frames))
        images = [frame.source for frame in read]
        self.spoiled = self.adversary(images)
        self.change = _change(images, self.spoiled)
        pairs = zip(read, self.spoiled.images, strict=True)
        for frame in OPENCV.lowered(replace(frame, image=image) for frame, image in pairs):
            yield Restored(
                frame.index, frame.image, frame.payload, 0.9, 0.0, Curve(), Rung("cpu", 0),
                np.zeros(frame.image.shape[:2], np.float32), planes=frame.planes,
            )  # fmt: skip


def _change(images: list[Image], spoiled: Spoiled) -> float:
    x, y, wide, high = spoiled.box or (0, 0, images[0].shape[1], images[0].shape[0])
    window = slice(y, y + high), slice(x, x + wide)
    changes = [np.abs(images[at][window] - spoiled.images[at][window]) for at in spoiled.frames]
    return float(max(change.mean() for change in changes))


class FakeRestorers(Restorers):
    """One fake model for every recipe."""

    def __init__(self, adversary: Adversary) -> None:
        super().__init__(threads=None)
        self.model = FakeModel(adversary)

    @property
    def spoiled(self) -> Spoiled | None:
        """What the adversary did; None before it was asked."""
        return self.model.spoiled

    def seen(self) -> bool:
        """Whether the adversary changed anything that can be seen."""
        return self.model.change >= LEAST_SEEN

    def of(self, recipe: Recipe) -> ShardRestorer:
        """A restorer with the fake model."""
        return ShardRestorer(recipe, model=self.model)
