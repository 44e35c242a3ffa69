"""What must be put back before a clip is published: shots like clean film, and what breaks a bound.

A shot is like clean film if its repairs are few and doubtful (`pipeline.detect.like_clean`). A rule
of the verdict may have a `fallback`: what breaks it gets the source back, first as little as the
rule says, then the shot, then the clip.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from pipeline.clip.box import Box
from pipeline.clip.put_back import Plan, PutBack
from pipeline.clip.regions import batches
from pipeline.clip.segment import Segments
from pipeline.clip.survey import Survey
from pipeline.detect.like_clean import Decided, is_like_clean
from pipeline.detect.verdict import Box as Found
from pipeline.detect.verdict import Evidence, broken_at
from schemas.recipe import Recipe
from schemas.verdict_rules import SCOPES, VerdictRule

CLEAN, RULE, STANDING = "like_clean", "rule", "standing"  # codes of schemas/repairs.py
COLUMNS = "shot", "frame", "decision", "why", "change", "crowd", "x", "y", "width", "height"


def of_clean_shots(segments: Segments, survey: Survey, recipe: Recipe) -> Plan:
    """The shots whose repairs are like those of clean film. The regions' files are local.

    Scratches that stand still do not count. Only shots in which nothing but repairs was changed are
    looked at: a shot that flickers, or has frames made anew, stays as it is, and so does every shot
    if the recipe takes grain away or repairs suspects.
    """
    if recipe.clean != "leave" or recipe.grain < 1 or recipe.suspects == "repair":
        return ()
    found: dict[int, list[Decided]] = {number: [] for number in range(len(survey.shots))}
    for segment in segments.values():
        if segment.regions_uri:
            for part in batches(Path(segment.regions_uri)):
                columns = (part[name].to_pylist() for name in COLUMNS)
                for shot, frame, decision, why, change, crowd, *box in zip(*columns, strict=True):
                    if why != STANDING:
                        region = Decided(decision, why, change, frame, tuple(box), crowd)
                        found[shot].append(region)
    filled = set(survey.fill)
    return tuple(
        PutBack(range(shot.start, shot.stop), None, CLEAN, shot=number)
        for number, shot in enumerate(survey.shots)
        if not (shot.left or shot.flickers or filled & set(range(shot.start, shot.stop)))
        and any(one.decision == "repair" for one in found[number])
        and is_like_clean(found[number])
    )


def of_rules(
    evidence: Evidence, rules: Sequence[VerdictRule], survey: Survey, before: Plan
) -> tuple[Plan, dict[str, str]]:
    """What rules with a fallback want put back, and the scope of each rule that is broken.

    `before` is what is put back already: where it did not help, more is.
    """
    plan: list[PutBack] = []
    scopes: dict[str, str] = {}
    whole = range(len(survey.pts))
    if any(one.frames == whole and one.region is None for one in before):
        return (), {}  # nothing is left to put back
    for rule in rules:
        broken = list(broken_at(evidence, rule)) if rule.fallback != "none" else []
        if not broken:
            continue
        scopes[rule.name] = _scope(rule, broken, before)
        plan += _parts(rule.name, scopes[rule.name], broken, survey)
    return tuple(plan), scopes


def _scope(rule: VerdictRule, broken: Sequence[tuple[int, Found | None]], before: Plan) -> str:
    """The fallback of the rule; where it was done already, or has no region, the next wider one."""
    done = [one for one in before if any(frame in one.frames for frame, _ in broken)]
    if any(one.rule and one.region is None for one in done):
        return "clip"
    no_region = all(box is None for _, box in broken)
    if rule.fallback == SCOPES[0] and (no_region or any(one.rule == rule.name for one in done)):
        return SCOPES[1]
    return rule.fallback


def _parts(
    rule: str, scope: str, broken: Sequence[tuple[int, Found | None]], survey: Survey
) -> Iterator[PutBack]:
    """The parts of a scope that hold the frames."""
    if scope == "clip":
        yield PutBack(range(len(survey.pts)), None, RULE, rule)
        return
    shots: set[int] = set()
    for frame, box in broken:
        if scope == SCOPES[0] and box is not None:
            yield PutBack(range(frame, frame + 1), _region(box, survey), RULE, rule)
        else:
            shots |= {n for n, s in enumerate(survey.shots) if s.start <= frame < s.stop}
    for number in sorted(shots):
        shot = survey.shots[number]
        yield PutBack(range(shot.start, shot.stop), None, RULE, rule, number)


def _region(box: Found, survey: Survey) -> Box:
    """The box, widened so that it cuts no chroma sample, inside the picture."""
    x, y, wide, high = box
    x, y = min(x, survey.probe.width - 1), min(y, survey.probe.height - 1)
    wide = min(max(wide, 1), survey.probe.width - x)
    high = min(max(high, 1), survey.probe.height - y)
    return Box(x, y, wide, high).widened(survey.probe, survey.by_fields)
