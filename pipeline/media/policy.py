"""Check a written file against the policy of its profile, rule by rule."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from pipeline.media.profiles import FORMS
from pipeline.media.sandbox import ask
from pipeline.media.wire import Request
from schemas.errors import ClipFault
from schemas.policy import Outcome, Rule, load_policy
from schemas.reasons import Reason
from schemas.recipe import PROFILES, Limits


def check_file(path: Path, rules: Sequence[Rule], limits: Limits) -> list[Outcome]:
    """The outcome of every rule for a file. A limited child process reads the file.

    Raises `ClipFault` if the file cannot be read, ArchiveError if a rule cannot compare a value.
    """
    request: Request = {"path": str(path.resolve()), "limits": asdict(limits)}
    facts = ask("pipeline.media.child.inspect", request, limits)
    return [rule.check(facts) for rule in rules]


def enforce(profile: str, path: Path, limits: Limits) -> list[Outcome]:
    """Check a file against its profile's policy.

    Raises `ClipFault(POLICY_FAIL)` with every rule that the file breaks.
    """
    outcomes = check_file(path, load_policy(profile), limits)
    broken = [str(outcome) for outcome in outcomes if not outcome.passed]
    if broken:
        raise ClipFault(Reason.POLICY_FAIL, f"{path.name} breaks {profile}: {'; '.join(broken)}")
    return outcomes


def policy_of(name: str) -> str:
    """The profile of a published file, from its name. Empty for any other name."""
    suffixes: dict[str, str] = {PROFILES[0]: "_rst.mkv"}
    suffixes |= {profile: f"_rst{form.suffix}" for profile, form in FORMS.items()}
    return next((profile for profile, suffix in suffixes.items() if name.endswith(suffix)), "")
