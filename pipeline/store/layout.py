"""Every path below an output folder OUT, in one place.

    OUT/
      clips/<clip>/<clip>_rst.mkv           the master, and beside it, from the same stem:
                   .mkv.json                  the record of the clip: written last
                   .mkv.framemd5 .mkv.sha256 .mkv.premis.xml; a small clip has no .sha256
                   .mkv.changes.mkv           the change map, if the recipe asks for it
                   .mkv.residual.mkv          the residual, if the recipe asks for it
                   .mkv.c2pa                  the C2PA manifest, after `sign`
                   _mz.mov _mz.mxf _sc.mp4    derived files
      tables/<table>/run_date=<date>/<run>/part-<n>.parquet
      tables/<table>/run_date=<date>/day/part-<n>.parquet       of reviews and reverts
      report/index.html
             pages.json                     digests of the pages: which of them have changed
             fleet.html                     all clips and nights together
             clips/<clip>.html              the page of a clip
             clips/<clip>/                  the pictures of the page
      quarantine/<clip>.json                the case of a clip that did not end well
      lease/<n>.json                        the n-th holder of the output
      audit/<thousands>/<n>.json            the n-th entry of the audit log
      former/<clip>/<run>.json              the record that a revert has replaced
      publishing/<clip>/                    files of a revert or a review, until they are published
                        commit.json           all of them are there: they will be published
      runs/<run>/                           the ledger of a run:
        run.json                              identity, sessions
        recipe.toml  recipes/<name>.toml      the recipe, and recipes of single clips
        survey/<clip>.json                    the survey
        attempts/<clip>/<shard>-<n>.json      a worker began; .end: it ended; shard -1: the survey,
                                              -2: a repeated assembly. At the end of the run
                                              attempts, progress and assembly of sound clips go
        segments/<clip>/<shard>.json          the segment record
                        <shard>.mkv           the segment
                        <shard>.parquet       its regions
                        <shard>.changes.mkv   its part of the change map
        progress/<clip>/<shard>.json          how far the shard is
        assembly/<clip>/<session>.json        the shard whose worker assembles the clip
        series/<clip>.json                    measurements of every frame
        regions/<clip>.parquet                regions that were repaired or left
        done/<clip>.json                      the clip's row: the commit point. Of a small clip it
                                              holds survey, segment record, series and regions too
        canaries/<clip>.<shot>.json           the score of planted damage
        stop/<session>.json                   the session starts no new work
        summary.json                          the end of the run

`out` is OUT. `run` is the folder of a run, from `run_folder`. Names are not checked here.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

from pipeline.store.address import join

OF_A_DAY = "day"  # the folder of reviews and reverts, in the place of a run's
# ---- published clips -----------------------------------------------------------------------------


def clips(out: str) -> str:
    """The folder with a folder for every published clip."""
    return join(out, "clips")


def clip_folder(out: str, clip: str) -> str:
    """The folder of a published clip."""
    return join(clips(out), clip)


def clip_file(out: str, clip: str, name: str) -> str:
    """A published file of a clip."""
    return join(clip_folder(out, clip), name)


def restored_name(clip: str, words: Sequence[str] = ()) -> str:
    """The name of a clip's master. `words` name frames that its source does not have."""
    return f"{'_'.join([clip, *words])}_rst.mkv"


# ---- tables and report ---------------------------------------------------------------------------


def tables(out: str) -> str:
    """The folder with a folder for every table."""
    return join(out, "tables")


def table(out: str, name: str) -> str:
    """The folder of a table."""
    return join(tables(out), name)


def table_day(out: str, name: str, day: date) -> str:
    """The folder of a day's part of a table."""
    return join(table(out, name), f"run_date={day.isoformat()}")


def table_folder(out: str, name: str, day: date, run: str) -> str:
    """The folder of a run's part of a table. `run` is the id of the run.

    It is no Hive partition: the files have the column `run`, and pandas refuses a partition with
    the name of a column.
    """
    return join(table_day(out, name, day), run)


def former_table_folder(out: str, name: str, day: date, run: str) -> str:
    """The folder of a run's part of a table in an output that an older code began."""
    return join(table_day(out, name, day), f"run={run}")


def table_part(folder: str, number: int) -> str:
    """A Parquet file in the folder of a run's part of a table."""
    return join(folder, f"part-{number}.parquet")


def report(out: str) -> str:
    """The folder of the report."""
    return join(out, "report")


def report_index(out: str) -> str:
    """The first page of the report."""
    return join(report(out), "index.html")


def report_fleet(out: str) -> str:
    """The page of the report about all clips and nights together."""
    return join(report(out), "fleet.html")


def report_pages(out: str) -> str:
    """The digests of the pages of the clips."""
    return join(report(out), "pages.json")


def report_page(out: str, clip: str) -> str:
    """The page of a clip in the report."""
    return join(report(out), "clips", f"{clip}.html")


def report_pictures(out: str, clip: str) -> str:
    """The folder with the pictures of a clip's page."""
    return join(report(out), "clips", clip)


def report_picture(folder: str, name: str) -> str:
    """A file in the folder with the pictures of a clip's page."""
    return join(folder, name)


# ---- what outlives a run -------------------------------------------------------------------------


def quarantine(out: str) -> str:
    """The folder of the cases."""
    return join(out, "quarantine")


def quarantine_case(out: str, clip: str) -> str:
    """The case of a clip that did not end well."""
    return join(quarantine(out), f"{clip}.json")


def leases(out: str) -> str:
    """The folder of the leases."""
    return join(out, "lease")


def lease(out: str, number: int) -> str:
    """The lease with this number."""
    return join(leases(out), f"{number:08d}.json")


def audit(out: str) -> str:
    """The folder of the audit log."""
    return join(out, "audit")


def audit_folder(out: str, name: str) -> str:
    """A folder of entries."""
    return join(audit(out), name)


def audit_entry(out: str, number: int, per_folder: int) -> str:
    """An entry of the audit log, of which each folder holds `per_folder`."""
    return join(audit(out), f"{number // per_folder:06d}", f"{number:09d}.json")


def former_record(out: str, clip: str, run: str) -> str:
    """The record that a revert has replaced. `run` is the id of the revert."""
    return join(out, "former", clip, f"{run}.json")


def publishing(out: str) -> str:
    """The folder with a folder for every clip whose files are about to be replaced."""
    return join(out, "publishing")


def publishing_folder(out: str, clip: str) -> str:
    """The new files of a clip, before they are published."""
    return join(publishing(out), clip)


def publishing_file(folder: str, name: str) -> str:
    """A new file of a clip, before it is published."""
    return join(folder, name)


def publishing_commit(folder: str) -> str:
    """The mark that all new files of a clip are there. From now on they will be published."""
    return join(folder, "commit.json")


def trial_folder(out: str, name: str) -> str:
    """The folder in which `doctor` tries the store. `doctor` deletes it."""
    return join(out, f".doctor-{name}")


def trial_file(folder: str, name: str) -> str:
    """A file in the folder in which `doctor` tries the store."""
    return join(folder, name)


# ---- the ledger of a run -------------------------------------------------------------------------


def runs(out: str) -> str:
    """The folder with a folder for every run."""
    return join(out, "runs")


def run_folder(out: str, run: str) -> str:
    """The ledger of a run. Here `run` is the id of the run."""
    return join(runs(out), run)


def run_record(run: str) -> str:
    """Identity and sessions of the run."""
    return join(run, "run.json")


def run_summary(run: str) -> str:
    """The summary. A run with a summary has ended."""
    return join(run, "summary.json")


def run_recipe(run: str) -> str:
    """The recipe of the run."""
    return join(run, "recipe.toml")


def named_recipes(run: str) -> str:
    """The folder with recipes of single clips."""
    return join(run, "recipes")


def named_recipe(run: str, name: str) -> str:
    """A recipe of single clips. `name` is the file name."""
    return join(named_recipes(run), name)


def surveys(run: str) -> str:
    """The folder of the surveys."""
    return join(run, "survey")


def survey(run: str, clip: str) -> str:
    """The survey of a clip."""
    return join(surveys(run), f"{clip}.json")


def all_attempts(run: str) -> str:
    """The folder with the attempts at all clips."""
    return join(run, "attempts")


def attempts(run: str, clip: str) -> str:
    """The folder with the attempts at a clip's shards."""
    return join(all_attempts(run), clip)


def attempt(run: str, clip: str, shard: int, number: int) -> str:
    """The n-th attempt at a shard. A negative shard stands for another step."""
    return join(attempts(run, clip), f"{shard}-{number}.json")


def attempt_end(run: str, clip: str, shard: int, number: int) -> str:
    """The mark that an attempt ended, with or without success."""
    return join(attempts(run, clip), f"{shard}-{number}.end")


def segments(run: str, clip: str) -> str:
    """The folder with the segments of a clip and their records."""
    return join(run, "segments", clip)


def segment_record(run: str, clip: str, shard: int) -> str:
    """The record of a segment."""
    return join(segments(run, clip), f"{shard}.json")


def segment_media(run: str, clip: str, shard: int) -> str:
    """The media file of a segment."""
    return join(segments(run, clip), f"{shard}.mkv")


def segment_regions(run: str, clip: str, shard: int) -> str:
    """The regions that the model repaired or left in a segment."""
    return join(segments(run, clip), f"{shard}.parquet")


def segment_changes(run: str, clip: str, shard: int) -> str:
    """The part of the change map that belongs to a segment."""
    return join(segments(run, clip), f"{shard}.changes.mkv")


def assembly_claims(run: str) -> str:
    """The folder with the claims of all clips."""
    return join(run, "assembly")


def progress(run: str) -> str:
    """The folder in which workers say how far their shards are."""
    return join(run, "progress")


def shard_progress(run: str, clip: str, shard: int) -> str:
    """How many frames of a shard are restored."""
    return join(progress(run), clip, f"{shard}.json")


def assembly_claim(run: str, clip: str, session: str) -> str:
    """The claim of the worker that assembles a clip in a session."""
    return join(assembly_claims(run), clip, f"{session}.json")


def series(run: str, clip: str) -> str:
    """The measurements of every frame of a clip."""
    return join(run, "series", f"{clip}.json")


def regions(run: str, clip: str) -> str:
    """The regions that the model repaired or left in a clip."""
    return join(run, "regions", f"{clip}.parquet")


def done_markers(run: str) -> str:
    """The folder with the rows of all clips that have ended."""
    return join(run, "done")


def done_marker(run: str, clip: str) -> str:
    """The row of a clip that has ended."""
    return join(done_markers(run), f"{clip}.json")


def canaries(run: str) -> str:
    """The folder with the scores of planted damage."""
    return join(run, "canaries")


def canary(run: str, clip: str, shot: int) -> str:
    """The score of the damage that was planted on a shot."""
    return join(canaries(run), f"{clip}.{shot}.json")


def stop_marker(run: str, session: str) -> str:
    """The mark that a session starts no new work."""
    return join(run, "stop", f"{session}.json")
