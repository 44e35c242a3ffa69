"""Whether every harm is caught, and clean film left alone: short clips of real footage.

`python -m jobs.evaluate.harm.suite FOOTAGE OUT [--clips N] [--model fast]` cuts clips out of
FOOTAGE (`valid/`, clean; `archive/`, damaged). Clean and damaged clips are restored by the model.
To others an adversary does harm: it takes the place of the model, and all that comes after is that
of a run. Prints a line for each clip that is not as it should be, and a table; exit code 1 if
there is one.
"""

from __future__ import annotations

import argparse
import itertools
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import typer

from jobs.evaluate.harm.adversaries import ADVERSARIES, Box
from jobs.evaluate.harm.fake import FakeRestorers
from pipeline.clip.clip import Clip
from pipeline.clip.result import ClipResult, FindingRow
from pipeline.local import LocalExecutor
from pipeline.media.decoder import Decoder
from pipeline.media.rgb import count_frames, read_rgb, write_rgb
from pipeline.runs.run import Run
from schemas.errors import ClipFault
from schemas.recipe import Limits, Recipe, parse_recipe_table

FRAMES, WIDTH = 24, 320
# Clips without damage. Others of the folder are coded for the web, or show only a still.
CLEAN = "davis_*.mp4", "derf_*.mp4"
# Of 200 clips: clean, damaged, and the rest adversaries.
SHARES = 48, 32


@dataclass(frozen=True)
class Case:
    """A clip to cut, and what is done to it: `clean`, `damaged`, or the name of an adversary."""

    path: Path
    start: int
    kind: str

    @property
    def clip_id(self) -> str:
        return f"{self.path.stem}-{self.start}-{self.kind}".replace(" ", "-")


@dataclass(frozen=True)
class Outcome:
    """How a clip ended, and what is wrong with that; empty if nothing is."""

    case: Case
    fault: str
    rules: tuple[str, ...]
    put_back: tuple[str, ...]


def cases(footage: Path, count: int) -> list[Case]:
    """`count` clips, by turns of every film, of all kinds.

    Colour is spoiled in clean clips only: old films have none, and nothing would change.
    """
    clean = sorted(path for name in CLEAN for path in (footage / "valid").glob(name))
    damaged = sorted((footage / "archive").glob("*.mp4"))
    shares = [round(share * count / 200) for share in SHARES]
    kinds = ["clean"] * shares[0], ["damaged"] * shares[1]
    rest = [*itertools.islice(itertools.cycle(ADVERSARIES), count - sum(shares))]
    every = [film for pair in itertools.zip_longest(clean, damaged) for film in pair if film]
    in_turn = {"clean": _starts(clean), "damaged": _starts(damaged)}
    in_turn |= {name: _starts(clean if "colour" in name else every) for name in ADVERSARIES}
    return [Case(*next(in_turn[kind]), kind) for kind in (*kinds[0], *kinds[1], *rest)]


def _starts(films: Sequence[Path]) -> Iterator[tuple[Path, int]]:
    """The first frame of one clip of each film, then of the next of each, without end."""
    lengths = {film: count_frames(film) for film in films}
    for turn in itertools.count():
        for film in films:
            places = max(lengths[film] // FRAMES, 1)
            yield film, turn % places * FRAMES


def cut(case: Case, path: Path) -> None:
    """Write the clip of a case: 320 columns, FFV1, 4:2:0."""
    write_rgb(path, _small(case.path, case.start), Fraction(25), "yuv420p")


def _small(path: Path, start: int) -> Iterator[np.ndarray]:
    for frame in read_rgb(path, start, start + FRAMES):
        height, width = frame.shape[:2]
        size = min(WIDTH, width) // 2 * 2, round(height * min(WIDTH, width) / width) // 2 * 2
        yield cv2.resize(frame, size, interpolation=cv2.INTER_AREA)


class Suite:
    """Takes cases through a run in this process, one after the other."""

    def __init__(self, out: Path, recipe: Recipe) -> None:
        self.out, self.recipe = out, recipe
        self.executor = LocalExecutor()
        self._models = self.executor.restorers

    def outcome(self, case: Case, path: Path) -> Outcome:
        """Restore the clip at `path` as its case says, and judge the end."""
        adversary = ADVERSARIES.get(case.kind)
        recipe, fake = self.recipe, None
        if adversary is not None:  # a clean shot would not be restored
            table = {**recipe.to_dict(), "clean": "restore"}
            recipe, fake = parse_recipe_table(table), FakeRestorers(adversary)
            self.executor.restorers = fake
        else:
            self.executor.restorers = self._models
        clip = Clip(case.clip_id, str(path))
        work = Run.open("suite.csv", [clip], str(self.out / case.clip_id), recipe, lambda _: None)
        try:
            result = self.executor.result(work, clip)
        except ClipFault as ended:
            return Outcome(case, f"{ended.reason}: {ended}", (), ())
        fault = fault_of(case, result, path, fake)
        standing = tuple(f.rule for f in result.findings if f.put_back is None)
        return Outcome(case, fault, standing, tuple(f.rule for f in result.findings if f.put_back))


def fault_of(case: Case, result: ClipResult, source: Path, fake: FakeRestorers | None) -> str:
    """What is wrong with the end of a clip; empty if nothing is."""
    if fake is not None:
        return _uncaught(result.findings, fake)
    state, verdict = result.state, result.columns.get("verdict")
    if case.kind == "clean":
        if state != "untouched":
            return f"{state}, {result.number('regions_repaired'):.0f} regions were repaired"
        same = crcs(source) == crcs(Path(str(result.columns["output_uri"])))
        return "" if same else "untouched, but its frames differ from the source"
    return f"fail: {result.columns.get('verdict_sentence')}" if verdict == "fail" else ""


def crcs(path: Path) -> list[int]:
    """The CRC-32 of every frame."""
    with Decoder(path, Limits()) as decoder:
        return [frame.crc32 for frame in decoder]


def _uncaught(findings: Sequence[FindingRow], fake: FakeRestorers) -> str:
    """Why no finding proves the harm; empty if one does: its frame is spoiled, and its box too."""
    spoiled = fake.spoiled
    if spoiled is None:
        return "the model was not asked"
    if not fake.seen():
        return ""  # the picture has nothing that the adversary could spoil
    if not findings:
        return "no rule is broken"
    for finding in findings:
        box = finding.box and tuple(map(int, finding.box.split(",")))
        near = not (box and spoiled.box) or overlap(box, spoiled.box)  # type: ignore[arg-type]
        if finding.frame in spoiled.frames and near:
            return ""
    return "no finding shows the spoiled frame and place: " + findings[0].sentence


def overlap(one: Box, other: Box) -> bool:
    """Whether two boxes have a pixel in common."""
    return all(
        one[side] < other[side] + other[side + 2] and other[side] < one[side] + one[side + 2]
        for side in (0, 1)
    )


def table(outcomes: Sequence[Outcome]) -> str:
    """The outcomes by kind, as Markdown."""
    kinds = Counter(one.case.kind for one in outcomes)
    good = Counter(one.case.kind for one in outcomes if not one.fault)
    lines = ["| kind | clips | as it should be |", "|---|--:|--:|"]
    lines += [f"| {kind} | {count} | {good[kind]} |" for kind, count in kinds.items()]
    return "\n".join([*lines, f"| **all** | {len(outcomes)} | {sum(good.values())} |"])


def main() -> None:
    """Run the suite."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("footage", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--clips", type=int, default=200)
    parser.add_argument("--model", default="fast")
    parser.add_argument("--only", help="clean, damaged, or the name of an adversary")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    suite, outcomes = Suite(given.out, parse_recipe_table({"model": given.model})), []
    for case in cases(given.footage, given.clips):
        if given.only and given.only not in (case.kind, case.kind in ADVERSARIES and "harm"):
            continue
        path = given.out / f"{case.clip_id}.mkv"
        cut(case, path)
        one = suite.outcome(case, path)
        outcomes.append(one)
        mark = "bad " if one.fault else "good"
        typer.echo(f"{mark} {case.clip_id}: {one.fault or ', '.join(one.rules + one.put_back)}")
    typer.echo(table(outcomes))
    sys.exit(any(one.fault for one in outcomes))


if __name__ == "__main__":
    main()
