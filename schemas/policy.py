"""Policies: named rules in TOML for the files of a profile.

A policy is a list of `[[rule]]`. Each rule has `name`, `field`, `operator` and `expected`. The
policies of the profiles are in `schemas/policies/`.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from schemas.errors import ArchiveError

POLICIES = Path(__file__).parent / "policies"
# Each operator compares the value of a field with `expected`. The file must have the field.
OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "=": lambda found, expected: bool(found == expected),
    "!=": lambda found, expected: bool(found != expected),
    ">=": lambda found, expected: bool(found >= expected),
    "<=": lambda found, expected: bool(found <= expected),
    "in": lambda found, expected: found in expected,
    "contains": lambda found, expected: expected in found,
    "all =": lambda found, expected: all(item == expected for item in found),
    "all start with": lambda found, expected: all(str(i).startswith(expected) for i in found),
    "present": lambda found, expected: True,
    "absent": lambda found, expected: False,
}
_WITHOUT_EXPECTED = ("present", "absent")


@dataclass(frozen=True)
class Rule:
    """One requirement on one field of a file."""

    name: str
    field: str
    operator: str
    expected: Any = None

    def check(self, facts: Mapping[str, Any]) -> Outcome:
        """Check the facts of a file. A missing field fails every operator except `absent`.

        Raises ArchiveError if the values cannot be compared.
        """
        if self.field not in facts:
            return Outcome(self, None, self.operator == "absent")
        found = facts[self.field]
        try:
            return Outcome(self, found, OPERATORS[self.operator](found, self.expected))
        except TypeError as error:
            raise ArchiveError(f"rule {self.name!r}: {self.field} is {found!r}: {error}") from error


@dataclass(frozen=True)
class Outcome:
    """The result of one rule on one file."""

    rule: Rule
    found: Any
    passed: bool

    def __str__(self) -> str:
        rule = self.rule
        wanted = rule.operator if rule.expected is None else f"{rule.operator} {rule.expected!r}"
        return f"{rule.name}: {rule.field} is {self.found!r}, expected {wanted}"

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for records and `--json`."""
        rule = self.rule
        return {
            "rule": rule.name, "field": rule.field, "operator": rule.operator,
            "expected": rule.expected, "found": self.found, "passed": self.passed,
        }  # fmt: skip


def load_policy(name_or_path: str) -> list[Rule]:
    """Return the rules of a profile or of a TOML file. Raises ArchiveError with the fault."""
    known = sorted(path.stem for path in POLICIES.glob("*.toml"))
    path = POLICIES / f"{name_or_path}.toml" if name_or_path in known else Path(name_or_path)
    if not path.is_file():
        names = ", ".join(known)
        raise ArchiveError(f"no policy {name_or_path!r}: give a profile ({names}) or a TOML file")
    try:
        rules = tomllib.loads(path.read_text(encoding="utf-8")).get("rule")
    except (OSError, ValueError) as error:
        raise ArchiveError(f"policy {name_or_path}: {error}") from error
    if not isinstance(rules, list) or not rules:
        raise ArchiveError(f"policy {name_or_path}: the file has no [[rule]]")
    return [_rule(entry, f"policy {name_or_path}: rule {n}") for n, entry in enumerate(rules, 1)]


def _rule(entry: object, where: str) -> Rule:
    keys = {"name", "field", "operator", "expected"}
    if not isinstance(entry, dict) or not keys - {"expected"} <= entry.keys() <= keys:
        raise ArchiveError(f"{where} needs name, field, operator and expected, and no other key")
    if entry["operator"] not in OPERATORS:
        allowed = ", ".join(OPERATORS)
        raise ArchiveError(f"{where}: unknown operator {entry['operator']!r}; allowed: {allowed}")
    if ("expected" in entry) == (entry["operator"] in _WITHOUT_EXPECTED):
        verb = "remove" if "expected" in entry else "add"
        raise ArchiveError(f"{where}: {verb} `expected` for the operator {entry['operator']}")
    return Rule(str(entry["name"]), str(entry["field"]), entry["operator"], entry.get("expected"))
