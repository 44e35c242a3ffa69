"""How the fields of a clip become progressive frames.

The survey decides on one conversion per clip. Every later stage decodes the source through it and
gets progressive frames with timestamps of their own. A frame has the same content, wherever
decoding began.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Self

from pipeline.clip.frames import Probe
from pipeline.clip.pulldown import CYCLE, FILM, LEAD

# Source frames to decode before the wanted one: bwdif looks at one, and one is spare.
DEINTERLACE_CONTEXT = 2
# Frames, and clock ticks, that one source frame becomes.
RATES = {"deinterlace": Fraction(2), "deinterlace-single": Fraction(1), "ivtc": Fraction(4, 5)}
CLOCKS = {"deinterlace": 2, "deinterlace-single": 1, "ivtc": FILM}
# The word of the tables for each policy.
DONE = {
    "deinterlace": "deinterlaced",
    "deinterlace-single": "deinterlaced-single",
    "ivtc": "ivtc",
}


@dataclass(frozen=True)
class Conversion:
    """Policy, field order (tff or bff), and the source frame where a pulldown cycle begins."""

    policy: str
    order: str
    phase: int = 0

    def __str__(self) -> str:
        return f"{DONE[self.policy]} {self.order} {self.phase}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """The inverse of `str`. Raises KeyError or ValueError if the text is no conversion."""
        word, order, phase = text.split()
        return cls({done: policy for policy, done in DONE.items()}[word], order, int(phase))

    def probe(self, source: Probe) -> Probe:
        """The source's probe, changed to describe the converted frames."""
        return replace(
            source,
            field_order="progressive",
            fps=source.fps * RATES[self.policy],
            time_base=source.time_base / CLOCKS[self.policy],
            frames_declared=None,
            start_pts=None,
            duration_pts=None,
        )

    def entry(self, index: int) -> tuple[int, int]:
        """Where to start decoding for frame `index`: (source frame, first converted frame).

        Decoding from there gives the same frame `index` as decoding from the beginning.
        """
        if self.policy == "ivtc":
            lead = LEAD[self.phase]
            if index < lead:
                return 0, 0
            cycle = (index - lead) // FILM
            return self.phase + CYCLE * cycle, lead + FILM * cycle
        rate = int(RATES[self.policy])
        source = max(0, index // rate - DEINTERLACE_CONTEXT)
        return source, source * rate

    def begun_at(self, source: int) -> Self:
        """The same conversion for a decoder that starts at source frame `source`."""
        return replace(self, phase=(self.phase - source) % CYCLE if self.policy == "ivtc" else 0)
