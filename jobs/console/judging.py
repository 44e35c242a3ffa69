"""SQL that judges restored clips by other rules, from the tables alone.

What a rule looks at is in `tables/frames` and `tables/clips`, so nothing is restored or decoded
again. Frames that a clip's `fill` made count here; the verdict of a run leaves them out.
"""

from collections.abc import Iterable, Sequence

from pipeline.detect.verdict import DIFFERENCES
from schemas.verdict_rules import OF_A_RULE, VerdictRule

_BROKEN = """
    SELECT clip_id, run, {place} AS place, {gravity} AS gravity, {verdict} AS verdict,
        {name} AS rule, {limit!r}::DOUBLE AS "limit", {pick}(number) AS number,
        arg_{pick}(frame, number) AS frame, count(*) AS frames
    FROM ({numbers}) WHERE number {beyond} {limit!r} GROUP BY clip_id, run
"""
_FRAMES = """
    SELECT clip_id, run, frame, {number} AS number FROM frames
    SEMI JOIN last_restorations USING (clip_id, run)
"""
_REPAIRS = """
    SELECT clip_id, run, largest_repair_frame AS frame,
        largest_repair / (width * height) AS number
    FROM clips SEMI JOIN last_restorations USING (clip_id, run)
"""


def judged_by(rules: Sequence[VerdictRule]) -> str:
    """A SELECT of the last restoration of each clip, with its verdict and the one of ``rules``.

    The clips whose verdict would change come first, the gravest among them on top. An untouched
    clip stays so.
    """
    parts = list(_parts(rules))
    broken = " UNION ALL ".join(parts) if parts else _NONE
    return f"""
        WITH broken AS ({broken}), worst AS (
            SELECT * FROM broken
            QUALIFY row_number() OVER (PARTITION BY clip_id ORDER BY gravity DESC, place) = 1
        ), made AS (
            SELECT clip_id, collection, run, verdict FROM clips
            SEMI JOIN last_restorations USING (clip_id, run)
        )
        SELECT clip_id, collection, run, made.verdict AS verdict,
            CASE WHEN made.verdict = 'untouched' THEN 'untouched'
                ELSE coalesce(worst.verdict, 'pass') END AS verdict_by_rules,
            rule, number, "limit", frame, frames
        FROM made LEFT JOIN worst USING (clip_id, run)
        ORDER BY verdict_by_rules IS DISTINCT FROM made.verdict DESC, gravity DESC NULLS LAST,
            clip_id
    """


_NONE = """
    SELECT NULL AS clip_id, NULL AS run, 0 AS place, 0 AS gravity, NULL AS verdict, NULL AS rule,
        NULL::DOUBLE AS "limit", NULL::DOUBLE AS number, NULL AS frame, NULL AS frames WHERE false
"""


def _parts(rules: Iterable[VerdictRule]) -> Iterable[str]:
    for place, rule in enumerate(rules):
        if rule.verdict == OF_A_RULE[0]:
            continue
        pick, beyond = ("max", ">") if rule.above is not None else ("min", "<")
        yield _BROKEN.format(
            place=place, gravity=OF_A_RULE.index(rule.verdict), verdict=_text(rule.verdict),
            name=_text(rule.name), limit=rule.limit, pick=pick, beyond=beyond,
            numbers=_numbers(rule.measure),
        )  # fmt: skip


def _numbers(measure: str) -> str:
    if measure == "largest_repair":
        return _REPAIRS
    if measure == "luma_shift":
        return _FRAMES.format(number="abs(mean_luma_after - mean_luma_before)")
    column = DIFFERENCES.get(measure)
    return _FRAMES.format(number=f"{column}_after - {column}_before" if column else measure)


def _text(value: str) -> str:
    """A text as a literal of SQL."""
    return "'" + value.replace("'", "''") + "'"
