"""Writes the report of an output folder: OUT/report/index.html and a page for every clip.

The pages are static and load nothing but the JPEGs and the film beside them. Facts come from the
tables. Pictures come from the source and the restored file. They are kept from one report to the
next, and a page is written again only if it changed. The index is written at once, and again when
there are pictures.
"""

from __future__ import annotations

import json
import os
import posixpath
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pyarrow as pa

from jobs.report.clip_page import clip_page
from jobs.report.curves.data import CLIPS_PER_QUERY, curves_of
from jobs.report.entry import MADE, WAITS, ClipPictures, ReportEntry, worst_first
from jobs.report.film import Film, joined, spans_to_show
from jobs.report.fleet.data import fleet
from jobs.report.fleet.page import fleet_page
from jobs.report.index_page import index_page
from jobs.report.pages import Pages
from jobs.report.regions import picture_name, worst_regions
from jobs.report.stills import Place, Still, jpeg, stills
from jobs.report.worst import findings_of, frames_to_show, reviews_of, shots_of, worst_frames
from pipeline.clip.clip import WITHOUT_PICTURES
from pipeline.clip.conversion import Conversion
from pipeline.clip.frames import Probe
from pipeline.detect.change_film import SUFFIX
from pipeline.sources.fetch import fetched
from pipeline.store import layout, storage
from pipeline.store.cache import local_copy
from pipeline.undo.access import access_copy
from schemas import strict_json
from schemas.errors import ArchiveError, ClipFault
from schemas.recipe import Limits, parse_recipe_table
from schemas.verdict_rules import rules_with

# One row for each clip: the last one that restored it, not one that found it up to date. Its
# access class and notes come from the last run.
LATEST = """
SELECT * REPLACE (
    first_value(access_class) OVER (PARTITION BY clip_id ORDER BY run DESC) AS access_class,
    first_value(notes) OVER (PARTITION BY clip_id ORDER BY run DESC) AS notes
) FROM clips
QUALIFY row_number() OVER (PARTITION BY clip_id ORDER BY state = 'up_to_date', run DESC) = 1
ORDER BY clip_id
"""
FILM = "film.webm"
MOST_AT_ONCE = 4  # clips whose pictures are taken at the same time; one waits for the disk


def write_report(out: str, step: Callable[[str], None] = lambda sentence: None) -> str:
    """Write every page and return the address of the index.

    `step` gets a sentence before each part of the work and before each clip. The index comes first,
    before the tables of frames are read.
    """
    from jobs.console.query import query

    step(f"reading the tables of {out}")
    rows = query(out, LATEST).to_pylist()
    entries = worst_first([ReportEntry(row) for row in rows])
    index = layout.report_index(out)
    written = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())
    storage.write_bytes(index, index_page(entries, out, written).encode())
    step("all clips and nights together")
    together = fleet_page(fleet(partial(query, out)), out, written)
    storage.write_bytes(layout.report_fleet(out), together.encode())
    entries = _with_tables(out, entries, step)
    pages = Pages(out)
    names = ["", *(entry.clip_id for entry in entries), ""]
    pool = ThreadPoolExecutor(min((os.cpu_count() or 1) + 1, MOST_AT_ONCE))
    try:
        made = pool.map(partial(_with_files, out), entries)
        for position, found in enumerate(entries):
            step(f"clip {position + 1} of {len(entries)}: {found.clip_id}")
            entries[position] = entry = next(made)
            html = clip_page(entry, names[position], names[position + 2], out)
            pages.write(layout.report_page(out, entry.clip_id), html)
    finally:
        pool.shutdown(cancel_futures=True)
        pages.close()
    storage.write_bytes(index, index_page(entries, out, written).encode())
    return index


def _with_tables(
    out: str, entries: Sequence[ReportEntry], step: Callable[[str], None] = lambda sentence: None
) -> list[ReportEntry]:
    """The clips with what other tables say of the published ones."""
    from jobs.console.query import query

    def ask(sql: str) -> pa.Table:
        return query(out, sql)

    found = list[ReportEntry]()
    for start in range(0, len(entries), CLIPS_PER_QUERY):
        part = entries[start : start + CLIPS_PER_QUERY]
        step(f"measures of clips {start + 1} to {start + len(part)} of {len(entries)}")
        rows = [entry.row for entry in part if entry.text("output_uri")]
        curves = curves_of([str(row["clip_id"]) for row in rows], ask)
        regions, worst, findings = (
            worst_regions(rows, ask), worst_frames(rows, ask), findings_of(rows, ask)
        )  # fmt: skip
        reviews, shots = reviews_of(rows, ask), shots_of(rows, ask)
        found += [
            replace(
                entry,
                curves=curves.get(entry.clip_id),
                regions=regions.get(entry.clip_id, ()),
                worst=worst.get(entry.clip_id, ()),
                findings=[f for f in findings.get(entry.clip_id, ()) if not f["put_back"]],
                put_back=[f for f in findings.get(entry.clip_id, ()) if f["put_back"]],
                shots=shots.get(entry.clip_id, ()),
                review=reviews.get(entry.clip_id),
            )
            for entry in part
        ]
    return found


def _with_files(out: str, entry: ReportEntry) -> ReportEntry:
    """The clip with what is in its files: pictures, and the streams of its record."""
    folder = layout.report_pictures(out, entry.clip_id)
    if not entry.text("output_uri"):
        _without_pictures(folder)
        return entry
    entry = replace(with_record(out, entry), output_link=link(out, entry.text("output_uri")))
    if entry.text("access_class") in WITHOUT_PICTURES:
        _without_pictures(folder)
        return entry
    return replace(entry, pictures=_pictures(entry, folder))


def with_record(out: str, entry: ReportEntry) -> ReportEntry:
    """The clip with what its record says; as it is if the record cannot be read."""
    uri = entry.text("output_uri")
    try:
        record = json.loads(storage.read_bytes(f"{uri}.json"))
        entry = replace(entry, unrestored=_unrestored(record["streams"]))
        recipe = parse_recipe_table(record["recipe"], "the record")
        copy = access_copy(record)
    except (ClipFault, ArchiveError, ValueError, KeyError, TypeError):
        return entry
    entry = replace(entry, rules=rules_with(recipe.rules))
    if copy is not None:
        beside = f"{uri.rpartition('/')[0]}/{copy.name}"
        return replace(entry, access=MADE, access_link=link(out, beside))
    return replace(entry, access=WAITS) if recipe.access_waits else entry


def _unrestored(streams: Iterable[Mapping[str, Any]]) -> list[str]:
    """Sentences about streams that are in the file unrestored, or that it lacks."""
    found = []
    for stream in streams:
        name = f"Stream {stream['index']} ({stream['codec']} {stream['kind']})"
        if stream["action"] != "kept":
            found.append(f"{name} was {stream['action']}: {stream['note']}.")
        elif stream["kind"] == "video":
            found.append(
                f"{name} is a second picture. It is not restored: it is the source's, bit for bit."
            )
    return found


def _without_pictures(folder: str) -> None:
    """Remove the pictures that an earlier report has made of a clip."""
    for uri in list(storage.listing(folder)):
        storage.delete(uri)


def link(out: str, uri: str) -> str:
    """Return the link from a clip's page to a file below ``out``; empty for other files."""
    base = out.rstrip("/") + "/"
    if not uri.startswith(base):
        return ""
    return quote(posixpath.join("..", "..", uri.removeprefix(base)))


def _pictures(entry: ReportEntry, folder: str) -> ClipPictures:
    """Return the clip's pictures: new ones, or those of an earlier report of the same file.

    If the source is gone, the page has no pictures, but the report still has the page.
    """
    mark = entry.text("output_sha256")[:12]
    note = layout.report_picture(folder, f"{mark}.json")
    try:
        if storage.exists(note):
            kept = ClipPictures(**json.loads(storage.read_bytes(note)))
            regions = {picture_name(row) for row in entry.regions}
            frames = {str(shown.frame) for shown in frames_to_show(entry)}
            ranges = [list(part) for part in joined(spans_to_show(entry))]
            same = kept.regions.keys() == regions and kept.frames.keys() == frames
            if same and kept.film.get("ranges", []) == ranges:
                return kept
        with tempfile.TemporaryDirectory(prefix="archive-restore-") as cache:
            pictures = _take(entry, folder, mark, Path(cache))
    except (ClipFault, TypeError):
        return ClipPictures()
    storage.write_bytes(note, strict_json.dumps(asdict(pictures)).encode())
    for uri in [uri for uri in storage.listing(folder) if mark not in posixpath.basename(uri)]:
        storage.delete(uri)  # of an earlier version of the clip
    return pictures


def _take(entry: ReportEntry, folder: str, mark: str, cache: Path) -> ClipPictures:
    indices = sorted(shown.frame for shown in frames_to_show(entry))
    places = [Place(*(int(str(row[name])) for name in Place._fields)) for row in entry.regions]
    done = entry.text("conversion")
    conversion = Conversion.parse(done) if done else None
    ranges = joined(spans_to_show(entry))
    film = Film(cache / FILM, ranges) if ranges else None
    with (
        fetched(entry.text("source_uri"), cache) as source,
        local_copy(entry.text("output_uri"), cache) as restored,
        _change_film(entry, cache) as changes,
    ):
        taken = stills(source, restored, indices, Limits(), conversion, places, changes, film)
        shown = film.facts("difference" if changes is None else "map") if film else {}
    if film:
        shown["file"] = name = f"{mark}-{FILM}"
        storage.write_bytes(layout.report_picture(folder, name), film.path.read_bytes())
    frames = {str(still.index): _save(still, folder, mark) for still in taken.frames}
    thumbnail, sar = f"{mark}-thumb.jpg", taken.source.sar
    middle = taken.frames[len(taken.frames) // 2].thumbnail(sar)
    storage.write_bytes(layout.report_picture(folder, thumbnail), jpeg(middle))
    ratio = float(taken.source.width * sar / taken.source.height)
    regions = {}
    for row, cut in zip(entry.regions, taken.cuts, strict=True):
        regions[picture_name(row)] = name = f"{mark}-region-{picture_name(row)}.jpg"
        storage.write_bytes(layout.report_picture(folder, name), jpeg(cut))
    streams = kept_streams(taken.source, taken.restored)
    return ClipPictures(ratio, frames, thumbnail, streams, regions, shown)


@contextmanager
def _change_film(entry: ReportEntry, cache: Path) -> Iterator[Path | None]:
    """The film of the clip's change map on this disk; None without one."""
    uri = f"{entry.text('output_uri')}{SUFFIX}"
    if not storage.exists(uri):
        yield None
        return
    with local_copy(uri, cache) as film:
        yield film


def kept_streams(source: Probe, restored: Probe) -> dict[str, str]:
    """Return the streams kept beside the pictures; differences from the source are noted."""

    def noted(before: object, after: object) -> str:
        return f"{after or 'none'}" + (f" (source: {before or 'none'})" if before != after else "")

    facts = {
        "Sound": (", ".join(source.audio), ", ".join(restored.audio)),
        "Subtitles": (", ".join(source.subtitles), ", ".join(restored.subtitles)),
        "Attachments": (", ".join(source.attachments), ", ".join(restored.attachments)),
        "Chapters": (source.chapters, restored.chapters),
        "Timecode": (source.timecode, restored.timecode),
    }
    return {name: noted(*pair) for name, pair in facts.items() if any(pair)}


def _save(still: Still, folder: str, mark: str) -> dict[str, str]:
    kinds = {"source": still.source, "restored": still.restored, "difference": still.difference}
    if (mapped := still.change_map) is not None:
        kinds["map"] = mapped
    names = {kind: f"{mark}-{still.index}-{kind}.jpg" for kind in kinds}
    for kind, picture in kinds.items():
        storage.write_bytes(layout.report_picture(folder, names[kind]), jpeg(picture))
    return names
