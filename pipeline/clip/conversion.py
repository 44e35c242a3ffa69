"""From fields to frames: which conversion a clip gets before the model, and the time it then has.

A conversion is settled once, by the survey. Everything after it decodes the source through it and
sees progressive frames with timestamps of their own; a frame is the same wherever decoding began.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import pairwise
from typing import Self

from pipeline.clip.frames import Probe
from pipeline.detect.interlacing import SCAN_OF, WORDS
from pipeline.detect.telecine import CYCLE, FILM, LEAD, Cadence
from schemas.errors import ClipFault
from schemas.reasons import Reason

# What the deinterlacer looks at before a frame, and one frame to spare.
DEINTERLACE_CONTEXT = 2
# Frames, and clock ticks, that a source frame becomes.
RATES = {"deinterlace": Fraction(2), "deinterlace-single": Fraction(1), "ivtc": Fraction(4, 5)}
CLOCKS = {"deinterlace": 2, "deinterlace-single": 1, "ivtc": FILM}
DONE = {
    "deinterlace": "deinterlaced", "deinterlace-single": "deinterlaced-single", "ivtc": "ivtc",
}  # fmt: skip


@dataclass(frozen=True)
class Conversion:
    """How fields become frames: policy, field order, and the frame a pulldown cycle begins at."""

    policy: str
    order: str
    phase: int = 0

    def __str__(self) -> str:
        return f"{DONE[self.policy]} {self.order} {self.phase}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """The inverse of `str`. Raises KeyError or ValueError for what is no conversion."""
        word, order, phase = text.split()
        return cls({done: policy for policy, done in DONE.items()}[word], order, int(phase))

    def probe(self, source: Probe) -> Probe:
        """What the converted pictures declare."""
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
        """(source frame, frame): where to begin decoding so that frame `index` is as in one pass,
        and which frame comes out first.
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
        """The same conversion as seen from a later source frame."""
        return replace(self, phase=(self.phase - source) % CYCLE if self.policy == "ivtc" else 0)


def plan(
    policy: str, probe: Probe, measured: str, said: str | None, cadence: Cadence, pts: Sequence[int]
) -> Conversion | None:
    """The conversion that a policy asks for; None where fields are kept as they are.

    `probe` has the field order that holds, `measured` is what the lines show and `said` what the
    manifest says of the scan. Raises `ClipFault(INTERLACE_REFUSED)` where the clip does not allow
    the policy.
    """
    if policy == "keep":
        return None
    declared = SCAN_OF[probe.field_order]
    order = measured if declared == "unknown" else declared
    if order not in ("tff", "bff"):
        raise _refused(policy, f"the clip is {WORDS.get(order, 'of unknown scan')}")
    if policy != "ivtc":
        if measured == "progressive" and said is None:
            raise _refused(policy, f"the clip declares {WORDS[order]}, but its lines progressive")
        return Conversion(policy, order)
    steps = [later - earlier for earlier, later in pairwise(pts)]
    if steps and max(steps) - min(steps) > 1:
        raise _refused(policy, "the frame rate varies")
    phase = cadence.phase(order)
    if phase is None:
        raise _refused(policy, f"its fields show no steady 2:3 cadence, {cadence.seen(order)}")
    return Conversion(policy, order, phase)


def _refused(policy: str, sentence: str) -> ClipFault:
    return ClipFault(Reason.INTERLACE_REFUSED, f"{policy} was asked for, but {sentence}")
