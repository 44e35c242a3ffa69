"""What the tables say of all clips and all nights together, for the page of the fleet."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import pyarrow as pa

from jobs.report.entry import Row
from schemas.reasons import MADE
from schemas.verdict_rules import VerdictRule, built_in_rules

NIGHTS = 30  # at most, in each part of the page
QUANTILES = [n / 40 for n in range(41)]
DRIFTING = {  # columns of tables/clips whose medians are followed from run to run, and their names
    "psnr_to_source_db": "PSNR to source, dB",
    "share_changed": "Share of pixels changed",
    "noise_sigma_after": "Noise after, code values",
    "flicker_after": "Flicker after, % of brightness",
    "blur_after": "Blur after, 0 to 1",
}
PLANTED = {  # scores of the canaries whose medians are followed, and their names
    "gain_db": "Gain in PSNR, dB",
    "repaired": "Share of the damage repaired",
    "harmed": "Share of the rest harmed",
}
_PSNR_SHOWN = 60  # dB; two pictures that are further alike look the same
# The number of a clip that a rule judges: the worst of its frames.
_WORST = {
    "noise_added": "max(noise_sigma_after - noise_sigma_before)",
    "blur_added": "max(blur_after - blur_before)",
    "blocks_added": "max(blockiness_after - blockiness_before)",
    "luma_shift": "max(abs(mean_luma_after - mean_luma_before))",
    "psnr_to_source_db": f"least(min(psnr_to_source_db), {_PSNR_SHOWN})",
}
_NIGHTS_OF = f"""
WITH made AS (
    SELECT run_date, clip_id, coalesce(collection, '(none)') AS collection,
        CASE WHEN state IN ('published', 'untouched') THEN coalesce(verdict, 'pass')
            ELSE 'not restored' END AS verdict
    FROM clips WHERE state != 'up_to_date'
        AND run_date IN (SELECT DISTINCT run_date FROM clips ORDER BY run_date DESC LIMIT {NIGHTS})
    QUALIFY row_number() OVER (PARTITION BY run_date, clip_id ORDER BY run DESC) = 1
)
SELECT run_date, collection, count(*) AS clips,
    count(*) FILTER (verdict = 'fail') AS fail,
    count(*) FILTER (verdict = 'needs_review') AS needs_review,
    count(*) FILTER (verdict = 'pass') AS pass,
    count(*) FILTER (verdict = 'untouched') AS untouched,
    count(*) FILTER (verdict = 'not restored') AS not_restored
FROM made GROUP BY ALL ORDER BY run_date DESC, clips DESC, collection LIMIT 100
"""
_REASONS = """
SELECT rule AS reason, any_value(verdict) AS verdict, count(DISTINCT clip_id) AS clips
FROM findings SEMI JOIN last_restorations USING (clip_id, run)
WHERE put_back IS NULL GROUP BY rule
UNION ALL
SELECT reason, any_value(state), count(*) FROM latest_clips WHERE reason IS NOT NULL GROUP BY reason
ORDER BY clips DESC, reason LIMIT 40
"""
_QUARTILES = ", ".join(
    f"quantile_cont({n}, [0.25, 0.5, 0.75]) FILTER (state = 'published') AS {n}" for n in DRIFTING
)
_RUNS = f"""
WITH made AS (
    SELECT run, count(*) AS made, sum(frames)::DOUBLE AS done, sum(seconds_cpu) AS cpu,
        sum(seconds_gpu) AS gpu, sum(duration_seconds) AS footage,
        min(recipe_sha256) AS recipe_sha256, min(weights_sha256) AS weights_sha256,
        {_QUARTILES}
    FROM clips WHERE state IN {MADE} AND frames_reverted IS NULL GROUP BY run
)
SELECT runs.run, started, code, recipe, made.*, seconds FROM runs JOIN made USING (run)
ORDER BY runs.run DESC LIMIT {NIGHTS}
"""
_SCORES = ", ".join(f"quantile_cont({n}, [0.25, 0.5, 0.75]) AS {n}" for n in PLANTED)
_CANARIES = f"""
WITH scored AS (SELECT *, psnr_restored_db - psnr_damaged_db AS gain_db FROM canaries)
SELECT run, any_value(code) AS code, min(recipe_sha256) AS recipe_sha256,
    min(weights_sha256) AS weights_sha256, count(*) AS canaries, count(fault) AS faults, {_SCORES}
FROM scored LEFT JOIN (SELECT run, code FROM runs) USING (run)
GROUP BY run ORDER BY run DESC LIMIT {NIGHTS}
"""
# Scores of canaries that got worse from one run to the next.
_FALLS = """
SELECT * FROM drift WHERE drifted
    AND (measure IN ('canary_gain_db', 'canary_repaired') AND shift < 0
        OR measure = 'canary_harmed' AND shift > 0)
ORDER BY run DESC, collection, measure LIMIT 10
"""
_COST = "SELECT * FROM cost_by_collection LIMIT 40"

Ask = Callable[[str], pa.Table]


@dataclass(frozen=True)
class Spread:
    """How a measure is spread over the clips: a value at each of `QUANTILES`."""

    rule: VerdictRule
    values: Sequence[float]
    clips: int
    beyond: int  # clips beyond the limit of the rule


@dataclass(frozen=True)
class Fleet:
    """All of the page."""

    nights: Sequence[Row] = ()
    reasons: Sequence[Row] = ()
    spreads: Sequence[Spread] = ()
    runs: Sequence[Row] = ()  # the oldest first
    canaries: Sequence[Row] = ()  # a row for each run that has some, the oldest first
    falls: Sequence[Row] = ()
    costs: Sequence[Row] = ()
    waiting: Sequence[Row] = field(default_factory=list)


def fleet(ask: Ask) -> Fleet:
    """The numbers of the page. `ask` runs a query."""
    return Fleet(
        nights=ask(_NIGHTS_OF).to_pylist(),
        reasons=ask(_REASONS).to_pylist(),
        spreads=_spreads(ask),
        runs=ask(_RUNS).to_pylist()[::-1],
        canaries=ask(_CANARIES).to_pylist()[::-1],
        falls=ask(_FALLS).to_pylist(),
        costs=ask(_COST).to_pylist(),
        waiting=ask("SELECT min(run) AS run, count(*) AS clips FROM review_queue "
                    "WHERE verdict IN ('fail', 'needs_review')").to_pylist(),
    )  # fmt: skip


def _worst(rule: VerdictRule) -> str:
    """The worst number of a clip's frames, in SQL."""
    pick = "min" if rule.above is None else "max"
    return _WORST.get(rule.measure, f"{pick}({rule.measure})")


def _spreads(ask: Ask) -> list[Spread]:
    rules = [rule for rule in built_in_rules() if rule.measure != "largest_repair"]
    worst = ", ".join(f"{_worst(rule)} AS m{n}" for n, rule in enumerate(rules))
    numbers = ", ".join(
        f"quantile_cont(m{n}, {QUANTILES}) AS q{n}, count(m{n}) AS clips{n}, count(*) FILTER "
        f"(m{n} {'<' if rule.above is None else '>'} {rule.limit}) AS beyond{n}"
        for n, rule in enumerate(rules)
    )
    (row,) = ask(
        f"WITH worst AS (SELECT clip_id, {worst} FROM frames "
        f"SEMI JOIN last_restorations USING (clip_id, run) GROUP BY clip_id) "
        f"SELECT {numbers} FROM worst"
    ).to_pylist()
    return [
        Spread(rule, row[f"q{n}"], row[f"clips{n}"], row[f"beyond{n}"])
        for n, rule in enumerate(rules)
        if row[f"clips{n}"]
    ]
