"""The rules of a clip's verdict, in TOML: a limit on the worst frame or the worst region.

The built-in rules are in `schemas/rules.toml`. A rule has `name`, `measure`, either `above` or
`below`, `verdict` and `says`: what its breach means, for the sentence of a finding. A rule with
the verdict `fail` may have a `fallback`: what is put back to the source before the clip is
published. A rule of a recipe replaces the built-in rule of its name, and takes from it what it does
not say itself. With `verdict = "pass"` it finds nothing.
"""

from __future__ import annotations

import json
import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, cast

from schemas.errors import ArchiveError

BUILT_IN = Path(__file__).parent / "rules.toml"
# Measures of a frame, of two frames, or of a region, with the unit of their number.
MEASURES = {
    "out_of_step": "share of what moves",
    "largest_repair": "share of the frame",
    "largest_change": "share of the frame",
    "pixels_changed": "share of the frame",
    "chroma_shift": "code values of 8 bits",
    "texture_added": "code values of 8 bits",
    "edges_kept": "share",
    "detail_kept": "share",
    "shared_detail_kept": "share",
    "luma_shift": "code values of 8 bits",
    "noise_added": "code values of 8 bits",
    "blur_added": "0 to 1",
    "blocks_added": "ratio",
    "psnr_to_source_db": "dB",
    "ssim_to_source": "-1 to 1",
}
VERDICTS = ("pass", "needs_review", "fail", "untouched")  # of a clip
OF_A_RULE = VERDICTS[:3]  # from the mildest to the gravest
TO_REVIEW = OF_A_RULE[1:]
# What is put back if a rule is broken: each region that breaks it, its shot, or the whole clip.
SCOPES = ("region", "shot", "clip")
FALLBACKS = (*SCOPES, "none")
_KEYS = ("name", "measure", "above", "below", "verdict", "says", "fallback")


@dataclass(frozen=True)
class VerdictRule:
    """One rule: a number beyond the limit has its verdict."""

    name: str
    measure: str
    verdict: str
    says: str
    above: float | None = None
    below: float | None = None
    fallback: str = "none"  # one of FALLBACKS

    @property
    def limit(self) -> float:
        """The limit, whichever side it is on."""
        return float(self.below if self.above is None else self.above)  # type: ignore[arg-type]

    def broken(self, number: float) -> bool:
        """Whether a number is beyond the limit."""
        return number < self.limit if self.above is None else number > self.limit

    def to_dict(self) -> dict[str, object]:
        """The rule as a table of TOML."""
        values = {key: getattr(self, key) for key in _KEYS}
        return {k: value for k, value in values.items() if value not in (None, "none")}


Rules = tuple[VerdictRule, ...]


@cache
def built_in_rules() -> Rules:
    """The rules that hold for every clip, unless its recipe replaces them."""
    return load_rules(BUILT_IN)


def rules_with(own: Rules) -> Rules:
    """The built-in rules, with rules of a recipe in the place of those with the same name."""
    return tuple({rule.name: rule for rule in (*built_in_rules(), *own)}.values())


def load_rules(path: str | Path) -> Rules:
    """The rules of a TOML file. Raises ArchiveError with every fault."""
    where = f"rules {path}"
    try:
        table = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ArchiveError(f"{where}: cannot be read: {error}") from error
    entries = table.pop("rules", [])
    if table:
        raise ArchiveError(f"{where}: unknown key {next(iter(table))!r}; allowed: [[rules]]")
    rules, faults = parse_rules(entries, built_in=Path(path) == BUILT_IN)
    if faults:
        raise ArchiveError(f"{where}: " + "; ".join(faults))
    return rules


def parse_rules(entries: object, *, built_in: bool = False) -> tuple[Rules, list[str]]:
    """The rules of a list of tables, and what is wrong with them."""
    if not isinstance(entries, list | tuple) or not all(isinstance(e, Mapping) for e in entries):
        return (), ["rules is not a list of tables: write [[rules]]"]
    base = {} if built_in else {rule.name: rule.to_dict() for rule in built_in_rules()}
    whole = [_whole(entry, base) for entry in entries]
    faults = [f"rule {n}: {fault}" for n, entry in enumerate(whole, 1) for fault in _faults(entry)]
    names = [str(entry.get("name")) for entry in whole]
    twice = sorted({name for name in names if names.count(name) > 1})
    if faults := [*faults, *(f"the rule {name!r} is there twice" for name in twice)]:
        return (), faults
    return tuple(_rule(entry) for entry in whole), []


def _rule(entry: Mapping[str, Any]) -> VerdictRule:
    limits = {side: float(entry[side]) for side in ("above", "below") if side in entry}
    return VerdictRule(**{**entry, **limits})


def _whole(entry: Mapping[str, Any], base: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The entry, with what it leaves out from the built-in rule of its name."""
    former = dict(base.get(str(entry.get("name")), {}))
    if "above" in entry or "below" in entry:
        former = {key: value for key, value in former.items() if key not in ("above", "below")}
    if entry.get("verdict", "fail") != "fail":  # only a failure is put back
        former.pop("fallback", None)
    return {**former, **entry}


def rules_toml(rules: Rules) -> str:
    """Rules as TOML. `load_rules` reads them back."""
    return "\n".join(
        "[[rules]]\n"
        + "".join(
            f"{key} = {json.dumps(value, ensure_ascii=False)}\n"
            for key, value in rule.to_dict().items()
        )
        for rule in rules
    )


def _faults(entry: Mapping[str, Any]) -> list[str]:
    """What is wrong with one entry."""
    faults = [
        f"unknown key {key!r}; allowed: {', '.join(_KEYS)}" for key in entry if key not in _KEYS
    ]
    faults += [
        f"{key} is missing or not a text"
        for key in ("name", "says")
        if not isinstance(entry.get(key), str) or not entry[key].strip()
    ]
    for key, allowed in (("measure", tuple(MEASURES)), ("verdict", OF_A_RULE)):
        if entry.get(key) not in allowed:
            faults.append(f"{key} = {entry.get(key)!r} is not one of {', '.join(allowed)}")
    fallback = entry.get("fallback", "none")
    if fallback not in FALLBACKS:
        faults.append(f"fallback = {fallback!r} is not one of {', '.join(FALLBACKS)}")
    elif fallback != "none" and entry.get("verdict") != "fail":
        faults.append(f"fallback = {fallback!r} needs verdict = 'fail'")
    limits = [entry[key] for key in ("above", "below") if key in entry]
    if len(limits) != 1 or not _is_number(limits[0]):
        faults.append("give one number as `above` or `below`")
    return faults


def _is_number(value: object) -> bool:
    return type(value) in (int, float) and math.isfinite(cast(float, value))
