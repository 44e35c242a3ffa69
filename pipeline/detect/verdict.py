"""The verdict of a clip: rules over its frames and regions, and the one frame that proves each."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from pipeline.clip.regions import LargestRepair
from pipeline.clip.result import Cell, FindingRow
from schemas.verdict_rules import MEASURES, OF_A_RULE, VerdictRule

Box = tuple[int, int, int, int]  # x, y, width, height in pixels of the source
FrameRow = Mapping[str, Any]  # a row of tables/frames
# Columns of which the difference counts: after less before.
DIFFERENCES = {"noise_added": "noise_sigma", "blur_added": "blur", "blocks_added": "blockiness"}
COLUMNS = ("verdict", "verdict_rule", "verdict_sentence", "verdict_frame")


class _Breach(NamedTuple):
    number: float
    frame: int


@dataclass(frozen=True)
class Evidence:
    """What a verdict is given by: the rows of the frames, where their numbers were found, repairs.

    `repairs` has the largest repaired region of each frame that has one. Frames in `skipped` hold
    no picture in the source, so they are not judged.
    """

    frames: Sequence[FrameRow]
    box: Callable[[int, str], Box | None]
    repairs: Mapping[int, LargestRepair]
    skipped: Collection[int] = ()

    def numbers(self, measure: str) -> Iterable[_Breach]:
        """Yield the number of every frame that has one."""
        if measure == "largest_repair":
            yield from (_Breach(one.share, frame) for frame, one in self.repairs.items())
            return
        for row in self.frames:
            number = number_of(row, measure)
            if number is not None and row["frame"] not in self.skipped:
                yield _Breach(number, int(row["frame"]))

    def box_of(self, frame: int, measure: str) -> Box | None:
        """Where a number was found."""
        return self.repairs[frame].box if measure == "largest_repair" else self.box(frame, measure)


def number_of(frame: FrameRow, measure: str) -> float | None:
    """The measure of a frame; None if it was not measured."""
    value: float | None
    if measure == "luma_shift":
        change = _difference(frame, "mean_luma")
        value = None if change is None else abs(change)
    elif column := DIFFERENCES.get(measure):
        value = _difference(frame, column)
    else:
        value = frame.get(measure)
    return None if value is None or math.isnan(value) else float(value)


def judged(clip: str, evidence: Evidence, rules: Iterable[VerdictRule]) -> tuple[FindingRow, ...]:
    """A finding for each rule that the clip breaks, the gravest verdict first."""
    found = [_finding(clip, evidence, rule) for rule in rules if rule.verdict != OF_A_RULE[0]]
    known = [finding for finding in found if finding is not None]
    return tuple(sorted(known, key=lambda finding: -OF_A_RULE.index(finding.verdict)))


def broken_at(evidence: Evidence, rule: VerdictRule) -> Iterator[tuple[int, Box | None]]:
    """Yield every frame that breaks the rule, and where; None is the whole frame."""
    for number, frame in evidence.numbers(rule.measure):
        if rule.broken(number):
            yield frame, evidence.box_of(frame, rule.measure)


def verdict_columns(found: Sequence[FindingRow], *, untouched: bool) -> dict[str, Cell]:
    """The verdict of a clip as columns of tables/clips. The first finding stands for all.

    A finding whose change was put back does not count.
    """
    columns: dict[str, Cell] = dict.fromkeys(COLUMNS)
    if untouched:
        return {**columns, "verdict": "untouched"}
    first = next((finding for finding in found if finding.put_back is None), None)
    if first is None:
        return {**columns, "verdict": "pass"}
    return dict(zip(COLUMNS, (first.verdict, first.rule, first.sentence, first.frame), strict=True))


def _difference(frame: FrameRow, column: str) -> float | None:
    after, before = frame.get(f"{column}_after"), frame.get(f"{column}_before")
    return None if after is None or before is None else float(after - before)


def _finding(clip: str, evidence: Evidence, rule: VerdictRule) -> FindingRow | None:
    broken = [one for one in evidence.numbers(rule.measure) if rule.broken(one.number)]
    if not broken:
        return None
    pick = max if rule.above is not None else min
    number, frame = pick(broken, key=lambda one: one.number)
    box = evidence.box_of(frame, rule.measure)
    unit = MEASURES[rule.measure]
    sentence = f"Frame {frame}: {rule.says}: {said(number, unit)}; limit {said(rule.limit, unit)}."
    if len(broken) > 1:
        sentence += f" {len(broken)} frames are beyond the limit."
    return FindingRow(
        clip, rule.name, rule.verdict, rule.measure, round(number, 6), rule.limit, frame,
        None if box is None else ",".join(map(str, box)), len(broken), sentence,
    )  # fmt: skip


def said(number: float, unit: str) -> str:
    """A number with its unit, in words. A share is said in percent."""
    if unit.startswith("share"):
        return f"{100 * number:.3g} %{unit.removeprefix('share')}"
    return f"{number:.3g} {unit}"
