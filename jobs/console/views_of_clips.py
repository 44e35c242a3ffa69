"""The views of `query` about single clips: their frames, regions, verdicts and decisions."""

from jobs.console.view import GAIN, View, count, number, word
from schemas.judgement import REVIEWS
from schemas.tables import FRAMES

_LARGEST = """
    SELECT clip_id, run, shot, frame, x, y, width, height, area, bright, change, why,
        format('{{}}:{{}},{{}},{{}},{{}}', frame, x, y, width, height) AS region
    FROM regions
    SEMI JOIN last_restorations USING (clip_id, run)
    WHERE decision = '{decision}'
    ORDER BY area DESC, clip_id, frame
"""

CLIPS: dict[str, View] = {
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
            "ref_psnr_gain_db": GAIN,
            "noise_sigma_change": number("Noise after less noise before.", "code values"),
            "flicker_change": number("Flicker after less flicker before.", "percent"),
        },
    ),
    "suspects": View(
        "Regions that the last restoration of each clip left, since they may be real: the largest "
        "first.",
        _LARGEST.format(decision="suspect"),
        columns={"region": word("Its id, for `review accept --region`.")},
    ),
    "largest_repairs": View(
        "Regions that the last restoration of each clip repaired, the largest first.",
        _LARGEST.format(decision="repair"),
        columns={"region": word("Its id, for `review revert --region`.")},
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
            "largest_repair_percent": number("Largest repair as a share of its frame.", "percent"),
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
            "clips": count("Clips with this reason."),
            "example": word("One of the clips."),
            "example_sentence": word("What happened to it."),
        },
    ),
    "quarantine": View(
        "Clips that their last run put into quarantine: why, and what to do next.",
        """
        SELECT clip_id, collection, reason, sentence, next_step, source_uri, run, run_date
        FROM latest_clips
        WHERE state = 'quarantined'
        ORDER BY run DESC, clip_id
        """,
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
            "runs": count("Runs that had the clip.", "runs"),
            "first_tried": word("Day of the first of them."),
            "last_tried": word("Day of the last of them."),
        },
    ),
    "events": View(
        "What happened to each clip, in order of time: how runs ended it, what was put back, and "
        "what people decided.",
        """
        SELECT clip_id, run, started AS at,
            CASE WHEN kind = 'revert' THEN 'put_back' ELSE state END AS event, '' AS "by",
            coalesce(sentence, verdict_sentence, '') AS note
        FROM clips JOIN (SELECT run, started, kind FROM runs) USING (run)
        WHERE state != 'up_to_date'
        UNION ALL
        SELECT clip_id, run, "at", decision, "by", concat_ws(': ', region, note) FROM reviews
        ORDER BY clip_id, "at", run
        """,
        columns={
            "at": word("When: the start of the run, or the time of the decision."),
            "event": word("The state in which a run ended the clip, `put_back`, or the decision."),
            "by": word("Who decided. Empty for a run."),
            "note": word("The sentence of the run, or the region and the words of the person."),
        },
    ),
}
