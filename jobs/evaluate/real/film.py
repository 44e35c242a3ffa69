"""A real film: its frames and its shots."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from models.frame_state import Scratch
from pipeline.detect.cuts import ShotDetector
from pipeline.detect.standing_scratches import StandingScratchMeter
from pipeline.media.rgb import read_rgb
from schemas.errors import ArchiveError

Picture = NDArray[np.uint8]  # (H, W, 3) RGB


@dataclass(frozen=True)
class Film:
    """The name of a file, its frames (H, W, 3) uint8 RGB, and its shots."""

    name: str
    frames: Sequence[Picture]
    shots: Sequence[range]
    # has seen every frame
    standing: StandingScratchMeter = field(default_factory=StandingScratchMeter)

    @classmethod
    def read(cls, path: Path) -> Film:
        """Read a whole film and find its cuts as the pipeline does."""
        frames = list(read_rgb(path))
        if not frames:
            raise ArchiveError(f"{path} has no frame")
        detector, standing = ShotDetector(), StandingScratchMeter()
        for frame in frames:
            luma = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)
            detector.add(luma)
            standing.add(luma)
        return cls(path.name, frames, detector.finish(), standing)

    def shot(self, frame: int) -> range:
        """Return the shot that holds a frame. Raises ArchiveError beyond the end of the film."""
        for shot in self.shots:
            if frame in shot:
                return shot
        raise ArchiveError(f"{self.name} has {len(self.frames)} frames: there is no {frame}")

    def scratches(self, shot: range) -> list[Scratch]:
        """Return the scratches that stand still in a shot."""
        return list(self.standing.scratches(shot.start, shot.stop))

    def has_neighbours(self, frame: int) -> bool:
        """Return whether the shot holds the frame before and the frame after."""
        shot = self.shot(frame)
        return frame - 1 in shot and frame + 1 in shot
