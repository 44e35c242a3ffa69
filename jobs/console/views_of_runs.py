"""The views of `query` about whole runs: formats, cost, and what changed from run to run."""

from jobs.console.view import GAIN, View, count, number, word

_DRIFTING = (
    "psnr_to_source_db", "ssim_to_source", "noise_sigma_after", "flicker_after", "blur_after",
    "blockiness_after", "defect_share", "share_changed",
)  # fmt: skip
_OF_CANARIES = "canary_gain_db", "canary_repaired", "canary_harmed"


RUNS: dict[str, View] = {
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
            "newest_run": word("Newest run with this collection."),
            "newest_recipe_sha256": word("Digest of its recipe."),
            "weights_differ": word("True if its weights differ too."),
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
            "fps": number("Frame rate of the source.", "frames per second"),
            "clips": count("Clips of this format."),
            "hours": number("Their duration.", "hours"),
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
            "clips": count("Clips restored."),
            "restorations": count("Restorations. A clip that is restored again counts again.", ""),
            "hours": number("Footage that was restored.", "hours"),
            "cpu_hours": number("Processor time.", "hours"),
            "gpu_hours": number("Time for which GPUs were held.", "hours"),
            "hours_per_hour": number("Working time for one hour of footage.", "hours"),
            "source_gb": number("Size of the sources.", "gigabytes"),
            "output_gb": number("Size of the restored files.", "gigabytes"),
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
            "restorations": count("Restorations. A clip that is restored again counts again.", ""),
            "hours": number("Footage that was restored.", "hours"),
            "device": word("gpu if the clips held a GPU, else cpu."),
            "device_seconds_gpu": number("Time for which GPUs were held.", "seconds"),
            "device_seconds_cpu": number("Processor time.", "seconds"),
            "busy_share": number(
                "Part of the time a device was held in which the model ran on it.", "0 to 1"
            ),
            "gpu_hours_per_hour": number("GPU time for an hour of footage.", "hours"),
            "cpu_hours_per_hour": number("Processor time for an hour of footage.", "hours"),
            "money_per_hour": number("Price of an hour of footage.", "of the prices"),
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
            "earlier_run": word("The restoration before the last."),
            "later_run": word("The last restoration."),
            "earlier_model": word("Its model."),
            "later_model": word("Its model."),
            "recipe_differs": word("True if the two recipes differ."),
            "psnr_to_source_change": number("Change of `psnr_to_source_db`.", "dB"),
            "ssim_to_source_change": number("Change of `ssim_to_source`.", "-1 to 1"),
            "noise_sigma_change": number("Change of `noise_sigma_after`.", "code values"),
            "flicker_change": number("Change of `flicker_after`.", "percent"),
            "blur_change": number("Change of `blur_after`.", "0 to 1"),
            "largest_repair_change": count("Change of `largest_repair`.", "pixels"),
            "frames_changed_change": count("Change of `frames_changed`.", "frames"),
            "ref_psnr_change": number("Change of `ref_psnr_after_db`.", "dB"),
        },
    ),
    "drift": View(
        "How the medians of the measures of a collection and of the scores of its canaries move "
        "from run to run, and what changed between the two runs. The largest shift comes first.",
        # The standard error of a median is 1.2533 times that of a mean (normal distribution), and
        # the standard deviation is 1.4826 times the median absolute deviation.
        f"""
        WITH restored AS (
            SELECT clips.collection, clips.run, runs.code, clips.recipe_sha256,
                clips.weights_sha256, {", ".join(f"clips.{name}" for name in _DRIFTING)},
                clips.seconds_model / nullif(clips.frames, 0) AS seconds_model_per_frame
            FROM clips LEFT JOIN runs USING (run)
            WHERE state = 'published' AND frames_reverted IS NULL
        ), planted AS (
            SELECT collections.collection, canaries.run, runs.code, canaries.recipe_sha256,
                canaries.weights_sha256, psnr_restored_db - psnr_damaged_db AS canary_gain_db,
                repaired AS canary_repaired, harmed AS canary_harmed
            FROM canaries LEFT JOIN runs USING (run)
            LEFT JOIN (SELECT clip_id, run, collection FROM clips) AS collections
            USING (clip_id, run)
        ), measured AS (
            FROM (
                UNPIVOT restored ON {", ".join(_DRIFTING)}, seconds_model_per_frame
                INTO NAME measure VALUE value
            ) UNION ALL BY NAME FROM (
                UNPIVOT planted ON {", ".join(_OF_CANARIES)} INTO NAME measure VALUE value
            )
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
            "measure": word(
                "The column of tables/clips; seconds of the model by frame; or a score of "
                "canaries: canary_gain_db, canary_repaired, canary_harmed."
            ),
            "previous_run": word("The run before with clips of this collection."),
            "clips": count("Clips of the collection that the run restored, or canaries.", ""),
            "median": number("Median of the measure.", "of the measure"),
            "previous_median": number("Median in the run before.", "of the measure"),
            "spread": number("Robust standard deviation of the measure.", "of the measure"),
            "shift": number("Difference of the medians.", "standard errors"),
            "drifted": word("True if both have 20 clips and the shift is above 4."),
            "changed": word("What changed between the two runs: code, recipe, weights."),
        },
    ),
    "canary_scores": View(
        "What the model did to damage planted on clean shots, where the truth is known, in each "
        "run: the newest first.",
        """
        SELECT run, preset, model, weights_sha256, recipe_sha256, count(*) AS canaries,
            count(fault) AS faults, avg(psnr_restored_db - psnr_damaged_db) AS gain_db,
            avg(repaired) AS repaired, avg(harmed) AS harmed
        FROM canaries
        GROUP BY ALL
        ORDER BY run DESC, preset, model, recipe_sha256
        """,
        columns={
            "canaries": count("Canaries of the run.", "canaries"),
            "faults": count("Those without a score.", "canaries"),
            "gain_db": number("Mean improvement of the PSNR.", "dB"),
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
            "first_used": word("Day of its first run."),
            "last_used": word("Day of its last run."),
            "clips": count("Clips restored with it."),
            "ref_psnr_gain_db": GAIN,
            "seconds_model_per_frame": number("Time of the model for a frame.", "seconds"),
        },
    ),
}
