"""Decide which conversion from fields to frames a clip gets."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from pipeline.clip.conversion import Conversion
from pipeline.clip.frames import Probe
from pipeline.clip.scan import SCAN_OF, WORDS
from pipeline.detect.telecine import Cadence
from schemas.errors import ClipFault
from schemas.reasons import Reason


def plan_conversion(
    policy: str,
    probe: Probe,
    measured: str,
    stated: str | None,
    cadence: Cadence,
    pts: Sequence[int],
) -> Conversion | None:
    """The conversion that a policy asks for. None: the fields are kept.

    `probe` holds the settled field order, `measured` is the scan type that the lines show, and
    `stated` is the scan type in the manifest. Raises `ClipFault(INTERLACE_REFUSED)` if the clip
    does not allow the policy.
    """
    if policy == "keep":
        return None
    declared = SCAN_OF[probe.field_order]
    order = measured if declared == "unknown" else declared
    if order not in ("tff", "bff"):
        raise _refused(policy, f"the clip is {WORDS.get(order, 'of unknown scan')}")
    if policy != "ivtc":
        if measured == "progressive" and stated is None:
            raise _refused(policy, f"it declares {WORDS[order]}, but its lines are progressive")
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
