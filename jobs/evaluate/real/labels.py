"""The labelled places: `labels.json`, and adding to it from the sheets.

`python -m jobs.evaluate.real.labels SHEETS` adds the classes of SHEETS/classes.csv (lines of
"number,class") to labels.json. SHEETS is the folder that `sheets.py` wrote. Numbers without a
class are left out: when in doubt, leave a candidate out.

`labels_drawn.json` has places drawn at random, apart from those of `labels.json`. Only the limit
of ridges was set in view of them. `evaluate --real FOLDER --labels FILE` judges by them.
"""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from jobs.console import output
from jobs.evaluate.real.classes import DEFECTS, REAL, Kind, kind_of
from jobs.evaluate.real.stand_out import Box
from schemas.errors import ArchiveError

LABELS, DRAWN = (Path(__file__).with_name(f"labels{name}.json") for name in ("", "_drawn"))


@dataclass(frozen=True, order=True)
class Label:
    """A place: file of the film, number of the frame, box in pixels, class."""

    clip: str
    frame: int
    box: Box
    name: str

    @property
    def kind(self) -> Kind:
        return kind_of(self.name)

    def entry(self) -> dict[str, object]:
        """Return the form that is written to labels.json."""
        place = {"clip": self.clip, "frame": self.frame, "box": list(self.box)}
        return place | {"class": self.name, "kind": self.kind}


def parsed(entry: Mapping[str, object]) -> Label:
    """Return the label of an entry of labels.json. Raises ArchiveError if it is not valid."""
    try:
        x, y, width, height = (int(number) for number in entry["box"])  # type: ignore[attr-defined]
        label = Label(
            str(entry["clip"]), int(str(entry["frame"])), (x, y, width, height), str(entry["class"])
        )
        if entry["kind"] != label.kind:
            raise ArchiveError(f"{label.name!r} is {label.kind}, not {entry['kind']}")
    except (KeyError, ValueError, TypeError) as error:
        known = ", ".join((*DEFECTS, *REAL))
        raise ArchiveError(
            f"not a label: {dict(entry)} ({error}); give clip, frame, box, kind, and a class of"
            f" {known}"
        ) from error
    if min(label.frame, x, y) < 0 or min(width, height) < 1:
        raise ArchiveError(f"not a place in a film: {dict(entry)}")
    return label


def load(path: Path = LABELS) -> list[Label]:
    """Return the labels of a file. Raises ArchiveError if one is not valid."""
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ArchiveError(f"{path} is not a file of labels: {error}") from error
    labels = [parsed(entry) for entry in entries]
    if not labels:
        raise ArchiveError(f"{path} has no label")
    return labels


def save(labels: Iterable[Label], path: Path = LABELS) -> None:
    """Write labels in order, one a line. A place that comes twice keeps its first class."""
    first: dict[tuple[str, int, Box], Label] = {}
    for label in labels:
        first.setdefault((label.clip, label.frame, label.box), label)
    lines = [json.dumps(label.entry()) for label in sorted(first.values())]
    path.write_text("[\n" + ",\n".join(lines) + "\n]\n", encoding="utf-8")


def from_sheets(sheets: Path) -> list[Label]:
    """Return the labels of a folder of sheets: its candidates that classes.csv names."""
    places = json.loads((sheets / "candidates.json").read_text(encoding="utf-8"))
    with (sheets / "classes.csv").open(encoding="utf-8", newline="") as lines:
        named = [(int(row[0]), row[1].strip()) for row in csv.reader(lines) if row]
    return [
        parsed({**places[number], "class": name, "kind": kind_of(name)}) for number, name in named
    ]


def main(sheets: Path) -> None:
    known = load() if LABELS.exists() else []
    added = from_sheets(sheets)
    save([*known, *added])
    output.say(f"{len(added)} labels from {sheets}; {len(load())} in {LABELS.name}")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("python -m jobs.evaluate.real.labels SHEETS: give the folder of the sheets")
    main(Path(sys.argv[1]))
