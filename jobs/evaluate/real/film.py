"""A real film: its frames and its shots."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.detect.cuts import ShotDetector
from pipeline.media.rgb import read_rgb
from schemas.errors import ArchiveError

Picture = NDArray[np.uint8]  # (H, W, 3) RGB


@dataclass(frozen=True)
class Film:
    """The name of a file, its frames (H, W, 3) uint8 RGB, and its shots."""

    name: str
    frames: Sequence[Picture]
    shots: Sequence[range]

    @classmethod
    def read(cls, path: Path) -> Film:
        """Read a whole film and find its cuts as the pipeline does."""
        frames = list(read_rgb(path))
        if not frames:
            raise ArchiveError(f"{path} has no frame")
        detector = ShotDetector()
        for frame in frames:
            detector.add(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY))
        return cls(path.name, frames, detector.finish())

    def shot(self, frame: int) -> range:
        """Return the shot that holds a frame. Raises ArchiveError beyond the end of the film."""
        for shot in self.shots:
            if frame in shot:
                return shot
        raise ArchiveError(f"{self.name} has {len(self.frames)} frames: there is no {frame}")

    def has_neighbours(self, frame: int) -> bool:
        """Return whether the shot holds the frame before and the frame after."""
        shot = self.shot(frame)
        return frame - 1 in shot and frame + 1 in shot
