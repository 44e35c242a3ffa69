"""A file of decisions: read, checked as a whole, and applied one after the other.

A line is one JSON object with `clip` and `decision`, and with `note`, `region`, `seen` (SHA-256 of
the restored file that the person looked at) and `at`, if there are any. The pages of the report
write it. The id of a review ends with a digest of its line. So a line that was applied before is
found, and a file is applied again after a crash.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.runs import lease
from pipeline.runs.process import Process
from pipeline.runs.tables import reviews_written
from pipeline.undo.published import record_of
from pipeline.undo.publishing import finish
from pipeline.undo.review import Review, check_decision, check_region, review_held
from schemas.columns import SHA256
from schemas.errors import ArchiveError
from schemas.exit_codes import ExitCode

FIELDS = ("clip", "decision", "note", "region", "seen", "at")
MAX_BYTES = 16 << 20
SHOWN = 20  # faults in a message


@dataclass(frozen=True)
class Decision:
    """One line of a file of decisions."""

    line: int
    key: str  # six hexadecimal digits: a digest of the line
    clip: str
    decision: str
    note: str = ""
    region: str = ""
    seen: str = ""
    at: str = ""


@dataclass(frozen=True)
class Applied:
    """A line that counts. `review` is None if it was applied before."""

    decision: Decision
    review: Review | None


def read_decisions(path: Path) -> list[Decision]:
    """The decisions of a file, in its order. Raises ArchiveError that names every wrong line."""
    found, faults = list[Decision](), list[str]()
    for number, text in enumerate(_text(path).splitlines(), 1):
        if not text.strip():
            continue
        try:
            found.append(_decision(number, text))
        except ArchiveError as error:
            faults.append(f"line {number}: {error}")
    faults += _twice(found)
    if not found and not faults:
        faults = ["it has no decision"]
    _refuse(path, faults)
    return found


def _text(path: Path) -> str:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ArchiveError(f"{path}: the file is larger than {MAX_BYTES} bytes")
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ArchiveError(f"{path}: cannot be read: {error}") from error


def _decision(number: int, text: str) -> Decision:
    try:
        plain = json.loads(text)
    except ValueError as error:
        raise ArchiveError(f"it is not JSON: {error}") from error
    if not isinstance(plain, dict):
        raise ArchiveError('it is no object such as {"clip": "reel-0042", "decision": "accept"}')
    if unknown := sorted(plain.keys() - set(FIELDS)):
        raise ArchiveError(f"unknown name {unknown[0]!r}: allowed are {', '.join(FIELDS)}")
    if wrong := [name for name, value in plain.items() if not isinstance(value, str)]:
        raise ArchiveError(f"{wrong[0]} is not a text")
    if missing := [name for name in FIELDS[:2] if not plain.get(name)]:
        raise ArchiveError(f"{missing[0]} is missing")
    check_decision(plain["decision"], plain.get("note", ""), plain.get("region", ""))
    if plain.get("seen") and not re.fullmatch(SHA256, plain["seen"]):
        raise ArchiveError("seen is no SHA-256 of 64 hexadecimal digits")
    canonical = json.dumps(plain, sort_keys=True).encode()
    return Decision(number, hashlib.sha256(canonical).hexdigest()[:6], **plain)


def _twice(decisions: Iterable[Decision]) -> list[str]:
    """Lines that contradict an earlier one about the same clip or region."""
    faults, of = list[str](), defaultdict[str, list[Decision]](list)
    for one in decisions:
        for other in of[one.clip]:
            kinds = {(bool(d.region), d.decision) for d in (one, other)}
            if one.region == other.region:
                what = f"region {one.region} of {one.clip}" if one.region else one.clip
                faults.append(f"line {one.line}: {what} is decided in line {other.line} already")
            elif (True, "accept") in kinds and any(d == "revert" for _, d in kinds):
                faults.append(
                    f"line {one.line}: {one.clip} is to be restored again for an accepted suspect, "
                    f"and source pixels are to be put back (line {other.line}): keep one of them"
                )
        of[one.clip].append(one)
    return faults


def apply_decisions(
    path: Path,
    out: str,
    *,
    by: str = "",
    step: Callable[[str], None] = lambda sentence: None,
) -> list[Applied]:
    """Apply the decisions of a file, in its order. Takes the output's lease.

    All lines are checked before the first is applied. A line that was applied before is left alone.
    A line that cannot be applied stops none after it. `step` gets a sentence before each line.
    Raises ArchiveError that names the wrong lines, and Locked.
    """
    decisions, person = read_decisions(path), by or Process.here().actor
    done, faults = list[Applied](), list[str]()
    with lease.held(out, "review") as mine:
        finish(out)
        before = _applied(decisions, out)
        _refuse(path, _unfit(decisions, before, out))
        for one in decisions:
            step(f"line {one.line} of {path.name}: {one.clip}, {one.decision}")
            try:
                done.append(Applied(one, None if one in before else _apply(one, out, mine, person)))
            except lease.Locked:
                raise
            except ArchiveError as error:
                faults.append(f"line {one.line}: {error}")
    if faults:
        shown = "; ".join(faults[:SHOWN])
        raise ArchiveError(
            f"{path}: {len(faults)} of {len(decisions)} decisions were not applied, the others "
            f"were; correct the cause and give the same file again: {shown}",
            exit_code=ExitCode.FAULTS,
        )
    return done


def _apply(one: Decision, out: str, mine: lease.Lease, by: str) -> Review:
    return review_held(
        one.clip, out, one.decision, mine, by=by, note=one.note, region=one.region, key=one.key
    )  # fmt: skip


def _applied(decisions: Sequence[Decision], out: str) -> set[Decision]:
    """The decisions that tables/reviews has already. A record forgets them at the next run."""
    written = reviews_written(out, {one.key for one in decisions})
    return {one for one in decisions if (one.clip, one.key) in written}


def _unfit(decisions: Sequence[Decision], before: set[Decision], out: str) -> list[str]:
    """Why lines cannot be applied to the clips as they are."""
    faults = []
    keys = {(one.clip, one.key) for one in decisions}
    for one in decisions:
        if one in before:
            continue
        try:
            record = record_of(one.clip, out)[2]
            mine = [r for r in record.get("reviews", ()) if (one.clip, r["run"][-6:]) in keys]
            # what this file put back itself is another version, and was asked for
            known = {record["row"]["output_sha256"], *(r["output_sha256"] for r in mine)}
            if one.seen and one.seen not in known:
                raise ArchiveError(
                    f"{one.clip} is another version than the one that was looked at: write the "
                    "report again, look, and decide"
                )
            if one.region:
                check_region(one.clip, record, one.region, one.decision)
        except ArchiveError as error:
            faults.append(f"line {one.line}: {error}")
    return faults


def _refuse(path: Path, faults: Sequence[str]) -> None:
    if faults:
        more = f"; and {len(faults) - SHOWN} more" if len(faults) > SHOWN else ""
        shown = "; ".join(faults[:SHOWN])
        raise ArchiveError(f"{path}: nothing was applied: {shown}{more}")
