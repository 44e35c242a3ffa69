"""What keeps the source in a picture, whatever the model says: the edges, and protected boxes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, Self

from models.fidelity.evidence import Accepted
from models.frame_state import Repair, Scratch
from models.restorer import Restored
from pipeline.clip.blanking import Blanking
from pipeline.clip.box import Box, put_back
from pipeline.clip.fields import in_field, in_frame
from pipeline.clip.frames import Planes
from pipeline.clip.survey import Survey


class Lines(NamedTuple):
    """The lines of the frames that one stream of pictures has: all, or those of one parity."""

    blanking: Blanking
    protect: tuple[Box, ...]  # they keep the source, and so do the edges
    accepted: Accepted  # suspects that are repaired
    scratches: tuple[Scratch, ...]  # that stand still
    parity: int | None = None

    @classmethod
    def of(cls, survey: Survey, parity: int | None = None) -> Self:
        """The lines of a clip's frames, or of its fields of one parity."""
        boxes = tuple(Box.parse(box) for box in survey.protect)
        found: dict[int, list[tuple[int, int, int, int]]] = {}
        for frame, box in map(Box.of_region, survey.accepted):
            whole = box.x, box.y, box.width, box.height
            if (own := whole if parity is None else in_field(whole, parity)) is not None:
                found.setdefault(frame, []).append(own)
        if parity is None:
            return cls(survey.blanking, boxes, found, (*survey.scratches,))
        edges = survey.blanking.of_field(parity, survey.probe.height)
        boxes = tuple(box.of_field(parity) for box in boxes)
        return cls(edges, boxes, found, tuple(s.of_field(parity) for s in survey.scratches), parity)

    def kept(self, source: Planes, restored: Planes, pix_fmt: str) -> Planes:
        """The restored planes with the source's samples in the edges and boxes."""
        restored = self.blanking.kept(source, restored)
        for box in self.protect:
            restored = put_back(restored, source, pix_fmt, box)
        return restored

    def hide(self, box: tuple[int, int, int, int], width: int, height: int) -> bool:
        """Whether a box of a picture (x, y, width, height) lies in what keeps the source."""
        inside = any(one.holds(box) for one in self.protect)
        return inside or self.blanking.hides(box, width, height)

    def regions(self, restored: Restored) -> Iterator[Repair]:
        """The regions of a picture that lie in nothing of this, in pixels of the frame."""
        height, width = restored.image.shape[:2]
        for repair in restored.repairs:
            if not self.hide(repair.box, width, height):
                yield repair if self.parity is None else in_frame(repair, self.parity)
