"""The views of `query`: what each one answers, its SQL, and the meaning of its own columns."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

import duckdb

from schemas.columns import INTEGER, REAL, TEXT, Column
from schemas.judgement import REVIEWS
from schemas.tables import FRAMES, PUBLISHED


@dataclass(frozen=True)
class View:
    """A view. With `parameters` it is called like a function, and each one has a default."""

    meaning: str
    sql: str
    parameters: str = ""
    columns: Mapping[str, Column] = field(default_factory=dict)  # those that no table has


def _count(meaning: str, unit: str = "clips") -> Column:
    return Column(INTEGER, meaning, unit)


def _number(meaning: str, unit: str = "") -> Column:
    return Column(REAL, meaning, unit)


def _word(meaning: str) -> Column:
    return Column(TEXT, meaning)


_LARGEST = """
    SELECT clip_id, run, shot, frame, x, y, width, height, area, bright, change, why,
        format('{{}}:{{}},{{}},{{}},{{}}', frame, x, y, width, height) AS region
    FROM regions
    SEMI JOIN last_restorations USING (clip_id, run)
    WHERE decision = '{decision}'
    ORDER BY area DESC, clip_id, frame
"""
_GAIN = _number("Improvement of the PSNR, measured with a clean reference.", "dB")
_DRIFTING = (
    "psnr_to_source_db", "ssim_to_source", "noise_sigma_after", "flicker_after", "blur_after",
    "blockiness_after", "defect_share", "share_changed",
)  # fmt: skip

VIEWS: dict[str, View] = {
    "last_restorations": View(
        "The last run that restored each clip.",
        """
        SELECT clip_id, max(run) AS run FROM clips WHERE state IN ('published', 'untouched')
        GROUP BY clip_id
        """,
    ),
    "latest_clips": View(
        "The last row of every clip.",
        """
        SELECT * FROM clips
        SEMI JOIN (SELECT clip_id, max(run) AS run FROM clips GROUP BY clip_id)
        USING (clip_id, run)
        ORDER BY clip_id
        """,
    ),
    "worst_clips": View(
        "Restored clips: the least improved first, then those that differ most from their source.",
        """
        SELECT clip_id, collection, run,
            ref_psnr_after_db - ref_psnr_before_db AS ref_psnr_gain_db,
            psnr_to_source_db, ssim_to_source,
            noise_sigma_after - noise_sigma_before AS noise_sigma_change,
            flicker_after - flicker_before AS flicker_change,
            output_uri
        FROM clips
        SEMI JOIN (SELECT clip_id, max(run) AS run FROM clips GROUP BY clip_id)
        USING (clip_id, run)
        WHERE state IN ('published', 'up_to_date')
        ORDER BY ref_psnr_gain_db NULLS LAST, psnr_to_source_db NULLS LAST, clip_id
        """,
        columns={
            "ref_psnr_gain_db": _GAIN,
            "noise_sigma_change": _number("Noise after less noise before.", "code values"),
            "flicker_change": _number("Flicker after less flicker before.", "percent"),
        },
    ),
    "suspects": View(
        "Regions that the last restoration of each clip left, since they may be real: the largest "
        "first.",
        _LARGEST.format(decision="suspect"),
        columns={"region": _word("Its id, for `review accept --region`.")},
    ),
    "largest_repairs": View(
        "Regions that the last restoration of each clip repaired, the largest first.",
        _LARGEST.format(decision="repair"),
        columns={"region": _word("Its id, for `review revert --region`.")},
    ),
    "worst_frames": View(
        "Frames of the last restoration of each clip: the largest changed region first.",
        """
        SELECT clip_id, run, shot, frame, largest_change, pixels_changed, detail_kept, edges_kept,
            texture_added, chroma_shift, out_of_step, psnr_to_source_db
        FROM frames
        SEMI JOIN last_restorations USING (clip_id, run)
        WHERE largest_change > 0
        ORDER BY largest_change DESC, clip_id, frame
        """,
        columns=FRAMES,
    ),
    "last_reviews": View(
        "The last decision of a person about each restoration of a clip. A decision about one "
        "region does not count.",
        """
        SELECT * FROM reviews
        WHERE region IS NULL
        QUALIFY row_number() OVER (PARTITION BY clip_id, restored_by ORDER BY run DESC) = 1
        ORDER BY clip_id, restored_by
        """,
    ),
    "review_queue": View(
        "Restored clips that need a person, and why: `fail` first, then those with the largest "
        "repair for their frame. Clips that were accepted, or that will run again, are left out.",
        """
        SELECT clip_id, collection, run, verdict, verdict_sentence, verdict_rule, verdict_frame,
            largest_repair, largest_repair_frame,
            100.0 * largest_repair / (width * height) AS largest_repair_percent,
            regions_repaired, suspects, frames_changed, frames, decision, note, output_uri
        FROM clips
        SEMI JOIN last_restorations USING (clip_id, run)
        LEFT JOIN (SELECT clip_id, restored_by AS run, decision, note FROM last_reviews)
        USING (clip_id, run)
        WHERE coalesce(verdict, '') NOT IN ('pass', 'untouched')
            AND coalesce(decision, '') NOT IN ('accept', 'rerun')
        ORDER BY verdict = 'fail' DESC NULLS LAST, largest_repair_percent DESC NULLS LAST,
            suspects DESC, clip_id
        """,
        columns={
            "largest_repair_percent": _number("Largest repair as a share of its frame.", "percent"),
            "decision": REVIEWS["decision"],
            "note": REVIEWS["note"],
        },
    ),
    "touched_pixels_over": View(
        "Clips of which more than a share of the pixels was changed, by the change map. In SQL: "
        "touched_pixels_over(0.05); the default is 0.01.",
        """
        SELECT clip_id, collection, run, share_changed, share_repaired, frames_changed, frames,
            output_uri
        FROM clips
        SEMI JOIN last_restorations USING (clip_id, run)
        WHERE share_changed > share
        ORDER BY share_changed DESC, clip_id
        """,
        parameters="share := 0.01",
    ),
    "quarantine_by_reason": View(
        "Reasons why clips are not restored, the most frequent first.",
        """
        SELECT reason, state, count(*) AS clips, any_value(next_step) AS next_step,
            min(clip_id) AS example, min_by(sentence, clip_id) AS example_sentence
        FROM latest_clips
        WHERE reason IS NOT NULL
        GROUP BY reason, state
        ORDER BY clips DESC, reason
        """,
        columns={
            "clips": _count("Clips with this reason."),
            "example": _word("One of the clips."),
            "example_sentence": _word("What happened to it."),
        },
    ),
    "never_restored": View(
        "Clips that no run has restored so far.",
        """
        SELECT clip_id, max_by(collection, run) AS collection, max_by(state, run) AS state,
            max_by(reason, run) AS reason, max_by(sentence, run) AS sentence, count(*) AS runs,
            min(run_date) AS first_tried, max(run_date) AS last_tried
        FROM clips
        GROUP BY clip_id
        HAVING bool_and(state NOT IN ('published', 'up_to_date', 'untouched'))
        ORDER BY runs DESC, clip_id
        """,
        columns={
            "runs": _count("Runs that had the clip.", "runs"),
            "first_tried": _word("Day of the first of them."),
            "last_tried": _word("Day of the last of them."),
        },
    ),
    "stale_recipes": View(
        "Clips whose last restoration had another recipe or other weights than the newest clip of "
        "their collection.",
        """
        WITH newest AS (
            SELECT collection, max(run) AS newest_run,
                max_by(recipe_sha256, run) AS recipe, max_by(weights_sha256, run) AS weights
            FROM clips GROUP BY collection
        )
        SELECT clip_id, clips.collection, run, model, recipe_sha256, newest.newest_run,
            newest.recipe AS newest_recipe_sha256,
            weights_sha256 IS DISTINCT FROM newest.weights AS weights_differ, output_uri
        FROM clips
        JOIN newest ON clips.collection IS NOT DISTINCT FROM newest.collection
        SEMI JOIN last_restorations USING (clip_id, run)
        WHERE (recipe_sha256, weights_sha256) IS DISTINCT FROM (newest.recipe, newest.weights)
        ORDER BY run, clip_id
        """,
        columns={
            "newest_run": _word("Newest run with this collection."),
            "newest_recipe_sha256": _word("Digest of its recipe."),
            "weights_differ": _word("True if its weights differ too."),
        },
    ),
    "field_order_disagreements": View(
        "Clips whose file declares another scan type or field order than its picture shows.",
        """
        SELECT clip_id, collection, run, state, reason, field_order, scan_measured, sentence
        FROM latest_clips
        WHERE reason = 'SCAN_DISAGREES' OR (
            scan_measured != 'unknown' AND field_order != 'unknown'
            AND scan_measured != CASE field_order
                WHEN 'tt' THEN 'tff' WHEN 'bt' THEN 'tff'
                WHEN 'bb' THEN 'bff' WHEN 'tb' THEN 'bff'
                ELSE field_order END
        )
        ORDER BY clip_id
        """,
    ),
    "format_census": View(
        "Containers, codecs and picture sizes in the archive.",
        """
        SELECT container, codec, pix_fmt, width, height,
            round(fps_num / nullif(fps_den, 0), 3) AS fps, field_order,
            count(*) AS clips, sum(frames)::BIGINT AS frames,
            round(sum(frames * fps_den / nullif(fps_num, 0)) / 3600, 3) AS hours
        FROM latest_clips
        WHERE pix_fmt IS NOT NULL
        GROUP BY ALL
        ORDER BY clips DESC, frames DESC
        """,
        columns={
            "fps": _number("Frame rate of the source.", "frames per second"),
            "clips": _count("Clips of this format."),
            "hours": _number("Their duration.", "hours"),
        },
    ),
    "cost_by_collection": View(
        "What the restoration of each collection took: all runs together.",
        """
        SELECT collection, count(DISTINCT clip_id) AS clips, count(*) AS restorations,
            sum(frames)::BIGINT AS frames, sum(duration_seconds) / 3600 AS hours,
            sum(seconds_cpu) / 3600 AS cpu_hours, sum(seconds_gpu) / 3600 AS gpu_hours,
            sum(seconds_total) / nullif(sum(duration_seconds), 0) AS hours_per_hour,
            sum(source_bytes) / 1e9 AS source_gb, sum(output_bytes) / 1e9 AS output_gb
        FROM clips
        WHERE state IN ('published', 'untouched') AND frames_reverted IS NULL
        GROUP BY collection
        ORDER BY cpu_hours + gpu_hours DESC NULLS LAST, collection
        """,
        columns={
            "clips": _count("Clips restored."),
            "restorations": _count("Restorations. A clip that is restored again counts again.", ""),
            "hours": _number("Footage that was restored.", "hours"),
            "cpu_hours": _number("Processor time.", "hours"),
            "gpu_hours": _number("Time for which GPUs were held.", "hours"),
            "hours_per_hour": _number("Working time for one hour of footage.", "hours"),
            "source_gb": _number("Size of the sources.", "gigabytes"),
            "output_gb": _number("Size of the restored files.", "gigabytes"),
        },
    ),
    "cost_by_model": View(
        "Device time and money for an hour of footage, by size of model. In SQL: "
        "cost_by_model(gpu_hour := 2.10, cpu_hour := 0.04), the prices of an hour of a GPU and of "
        "a core; without them, money is 0.",
        """
        SELECT model, CASE WHEN sum(seconds_gpu) > 0 THEN 'gpu' ELSE 'cpu' END AS device,
            count(*) AS restorations, sum(frames)::BIGINT AS frames,
            sum(duration_seconds) / 3600 AS hours,
            sum(seconds_gpu) AS device_seconds_gpu, sum(seconds_cpu) AS device_seconds_cpu,
            sum(seconds_model) / nullif(
                CASE WHEN sum(seconds_gpu) > 0 THEN sum(seconds_gpu) ELSE sum(seconds_total) END, 0
            ) AS busy_share,
            sum(seconds_gpu) / nullif(sum(duration_seconds), 0) AS gpu_hours_per_hour,
            sum(seconds_cpu) / nullif(sum(duration_seconds), 0) AS cpu_hours_per_hour,
            coalesce(gpu_hours_per_hour, 0) * gpu_hour
                + coalesce(cpu_hours_per_hour, 0) * cpu_hour AS money_per_hour
        FROM clips
        WHERE state IN ('published', 'untouched') AND frames_reverted IS NULL
        GROUP BY model, coalesce(seconds_gpu, 0) > 0
        ORDER BY model, device
        """,
        parameters="gpu_hour := 0.0, cpu_hour := 0.0",
        columns={
            "restorations": _count("Restorations. A clip that is restored again counts again.", ""),
            "hours": _number("Footage that was restored.", "hours"),
            "device": _word("gpu if the clips held a GPU, else cpu."),
            "device_seconds_gpu": _number("Time for which GPUs were held.", "seconds"),
            "device_seconds_cpu": _number("Processor time.", "seconds"),
            "busy_share": _number(
                "Part of the time a device was held in which the model ran on it.", "0 to 1"
            ),
            "gpu_hours_per_hour": _number("GPU time for an hour of footage.", "hours"),
            "cpu_hours_per_hour": _number("Processor time for an hour of footage.", "hours"),
            "money_per_hour": _number("Price of an hour of footage.", "of the prices"),
        },
    ),
    "compare_runs": View(
        "Clips that were restored more than once: the last restoration less the one before, the "
        "largest departures from the source first.",
        """
        WITH restored AS (
            SELECT clip_id, collection, run, model, recipe_sha256, psnr_to_source_db,
                ssim_to_source, noise_sigma_after, flicker_after, blur_after, largest_repair,
                frames_changed, ref_psnr_after_db,
                row_number() OVER (PARTITION BY clip_id ORDER BY run DESC) AS age
            FROM clips WHERE state IN ('published', 'untouched')
        )
        SELECT clip_id, later.collection, earlier.run AS earlier_run, later.run AS later_run,
            earlier.model AS earlier_model, later.model AS later_model,
            earlier.recipe_sha256 IS DISTINCT FROM later.recipe_sha256 AS recipe_differs,
            later.psnr_to_source_db - earlier.psnr_to_source_db AS psnr_to_source_change,
            later.ssim_to_source - earlier.ssim_to_source AS ssim_to_source_change,
            later.noise_sigma_after - earlier.noise_sigma_after AS noise_sigma_change,
            later.flicker_after - earlier.flicker_after AS flicker_change,
            later.blur_after - earlier.blur_after AS blur_change,
            later.largest_repair - earlier.largest_repair AS largest_repair_change,
            later.frames_changed - earlier.frames_changed AS frames_changed_change,
            later.ref_psnr_after_db - earlier.ref_psnr_after_db AS ref_psnr_change
        FROM restored AS later JOIN restored AS earlier USING (clip_id)
        WHERE later.age = 1 AND earlier.age = 2
        ORDER BY psnr_to_source_change NULLS LAST, clip_id
        """,
        columns={
            "earlier_run": _word("The restoration before the last."),
            "later_run": _word("The last restoration."),
            "earlier_model": _word("Its model."),
            "later_model": _word("Its model."),
            "recipe_differs": _word("True if the two recipes differ."),
            "psnr_to_source_change": _number("Change of `psnr_to_source_db`.", "dB"),
            "ssim_to_source_change": _number("Change of `ssim_to_source`.", "-1 to 1"),
            "noise_sigma_change": _number("Change of `noise_sigma_after`.", "code values"),
            "flicker_change": _number("Change of `flicker_after`.", "percent"),
            "blur_change": _number("Change of `blur_after`.", "0 to 1"),
            "largest_repair_change": _count("Change of `largest_repair`.", "pixels"),
            "frames_changed_change": _count("Change of `frames_changed`.", "frames"),
            "ref_psnr_change": _number("Change of `ref_psnr_after_db`.", "dB"),
        },
    ),
    "drift": View(
        "How the medians of the measures of a collection move from run to run, and what changed "
        "between the two runs. The largest shift comes first.",
        # The standard error of a median is 1.2533 times that of a mean (normal distribution), and
        # the standard deviation is 1.4826 times the median absolute deviation.
        f"""
        WITH restored AS (
            SELECT clips.collection, clips.run, runs.code, clips.recipe_sha256,
                clips.weights_sha256, {", ".join(f"clips.{name}" for name in _DRIFTING)},
                clips.seconds_model / nullif(clips.frames, 0) AS seconds_model_per_frame
            FROM clips LEFT JOIN runs USING (run)
            WHERE state = 'published' AND frames_reverted IS NULL
        ), measured AS (
            UNPIVOT restored ON {", ".join(_DRIFTING)}, seconds_model_per_frame
            INTO NAME measure VALUE value
        ), medians AS (
            SELECT collection, measure, run, count(*) AS clips, median(value) AS median,
                1.4826 * mad(value) AS spread, min(code) AS code, min(recipe_sha256) AS recipe,
                min(weights_sha256) AS weights
            FROM measured GROUP BY collection, measure, run
        ), pairs AS (
            SELECT *, lag(run) OVER earlier AS previous_run, lag(clips) OVER earlier AS before,
                lag(median) OVER earlier AS previous_median, lag(spread) OVER earlier AS was,
                concat_ws(', ',
                    CASE WHEN code != lag(code) OVER earlier THEN 'code' END,
                    CASE WHEN recipe != lag(recipe) OVER earlier THEN 'recipe' END,
                    CASE WHEN weights != lag(weights) OVER earlier THEN 'weights' END
                ) AS changed
            FROM medians
            WINDOW earlier AS (PARTITION BY collection, measure ORDER BY run)
        )
        SELECT collection, measure, run, previous_run, clips, median, previous_median, spread,
            (median - previous_median)
                / nullif(1.2533 * sqrt(spread ** 2 / clips + was ** 2 / before), 0) AS shift,
            clips >= 20 AND before >= 20 AND abs(shift) > 4 AS drifted, changed
        FROM pairs WHERE previous_run IS NOT NULL
        ORDER BY abs(shift) DESC NULLS LAST, collection, measure, run
        """,
        columns={
            "measure": _word("The column of tables/clips; or seconds of the model by frame."),
            "previous_run": _word("The run before with clips of this collection."),
            "clips": _count("Clips of the collection that the run restored."),
            "median": _number("Median of the measure.", "of the measure"),
            "previous_median": _number("Median in the run before.", "of the measure"),
            "spread": _number("Robust standard deviation of the measure.", "of the measure"),
            "shift": _number("Difference of the medians.", "standard errors"),
            "drifted": _word("True if both have 20 clips and the shift is above 4."),
            "changed": _word("What changed between the two runs: code, recipe, weights."),
        },
    ),
    "model_history": View(
        "Mean scores of every model and recipe, to compare runs before and after a change.",
        """
        SELECT model, weights_sha256, recipe_sha256, min(run_date) AS first_used,
            max(run_date) AS last_used, count(*) AS clips, sum(frames)::BIGINT AS frames,
            avg(psnr_to_source_db) AS psnr_to_source_db,
            avg(ref_psnr_after_db - ref_psnr_before_db) AS ref_psnr_gain_db,
            sum(seconds_model) / nullif(sum(frames), 0) AS seconds_model_per_frame
        FROM clips
        WHERE state = 'published' AND frames_reverted IS NULL
        GROUP BY ALL
        ORDER BY last_used DESC, clips DESC
        """,
        columns={
            "first_used": _word("Day of its first run."),
            "last_used": _word("Day of its last run."),
            "clips": _count("Clips restored with it."),
            "ref_psnr_gain_db": _GAIN,
            "seconds_model_per_frame": _number("Time of the model for a frame.", "seconds"),
        },
    ),
}


def create_views(connection: duckdb.DuckDBPyConnection, sql: str) -> None:
    """Create the views that a SELECT names, and those that they name. The tables must exist."""
    named = _named(sql)
    for name, view in VIEWS.items():  # a view comes after those that it names
        if name in named:
            macro = f"CREATE MACRO {name}({view.parameters}) AS TABLE {view.sql}"
            connection.execute(macro if view.parameters else f"CREATE VIEW {name} AS {view.sql}")


def tables_named(sql: str) -> set[str]:
    """The tables that a SELECT may read: those that it names, and those of the views it names."""
    texts = [sql, *(VIEWS[name].sql for name in _named(sql))]
    return PUBLISHED.keys() & {word for text in texts for word in _words(text)}


def _named(sql: str) -> set[str]:
    named = VIEWS.keys() & _words(sql)
    return named.union(*(_named(VIEWS[name].sql) for name in named))


def _words(sql: str) -> set[str]:
    return set(re.findall(r"\w+", sql.lower()))


def selected(view: str) -> str:
    """The SELECT of all rows of a view, with the defaults of its parameters."""
    return f"SELECT * FROM {view}" + ("()" if VIEWS[view].parameters else "")
