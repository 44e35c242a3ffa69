"""Replace the files of a published clip in one step, whatever interrupts it.

The new files are first written to OUT/publishing/<clip>/, and `commit.json` after them. Without
`commit.json` the old version stands, and no byte of it was touched. With it the new version counts:
the next holder of the output's lease publishes it, record last. So a half-replaced clip is
completed by the next `revert` or the next run.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import date
from typing import Any, cast

from pipeline.media.profiles import FORMS
from pipeline.proof.fixity import local_file
from pipeline.proof.record import PUBLISHED_NAME, listed, unsealed
from pipeline.runs.audit import AuditLog
from pipeline.runs.ledger import unfinished
from pipeline.runs.tables import write_replacement, write_review
from pipeline.store import layout
from pipeline.store.storage import DIRECT, Store
from pipeline.undo.regions import standing
from schemas import strict_json
from schemas.tables import CLIPS

STALE = (".c2pa", FORMS["access"].suffix)  # files that a replacement may take away
SERIES = "series.json"  # measurements of every frame, for tables/frames


@dataclass(frozen=True)
class Commit:
    """Everything that is left to do when the new files are there."""

    clip_id: str
    run: str  # the id of the replacement in the tables
    uri: str  # of the master
    started: str  # ISO 8601 in UTC
    audit: Mapping[str, object]  # facts of the entry in the audit log
    run_row: Mapping[str, object] | None  # of tables/runs; None if the pictures stay as they are
    review: Mapping[str, object] | None = None  # of tables/reviews
    action: str = ""  # in the audit log; empty for a revert and a review

    def to_json(self) -> bytes:
        return strict_json.dumps(asdict(self), sort_keys=True).encode()


def commit(out: str, replacement: Commit, store: Store = DIRECT) -> None:
    """Make the new version count. All its files are in the folder of the clip in `publishing`."""
    folder = layout.publishing_folder(out, replacement.clip_id)
    store.write_bytes(layout.publishing_commit(folder), replacement.to_json())


def finish(out: str, store: Store = DIRECT) -> list[str]:
    """Publish every version that counts, and delete files of others. Returns the clips published.

    Only the holder of the output's lease calls it. Every step is safe to repeat.
    """
    published = []
    for clip in store.folders(layout.publishing(out)):
        folder = layout.publishing_folder(out, clip)
        if store.exists(layout.publishing_commit(folder)):
            plain = json.loads(store.read_bytes(layout.publishing_commit(folder)))
            _publish(out, folder, Commit(**plain), store)
            published.append(clip)
        _delete(folder, store)
    return published


def _publish(out: str, folder: str, work: Commit, store: Store) -> None:
    place, _, master = work.uri.rpartition("/")
    sealed = store.read_bytes(layout.publishing_file(folder, f"{master}.json"))
    record = unsealed(sealed)
    new = {uri.rpartition("/")[2] for uri in store.listing(folder)}
    for file in listed(record):
        if file.name in new or work.run_row is not None:
            with local_file(layout.publishing_file(folder, file.name)) as path:
                store.upload(path, f"{place}/{file.name}")
    store.write_bytes(f"{work.uri}.json", sealed)
    _delete_stale(place, record, store)
    if work.run_row is not None:
        _write_tables(out, folder, work, record, store)
    if work.review is not None:
        _note_review(out, work, work.review, store)
    action = work.action or ("clip_reviewed" if work.run_row is None else "clip_reverted")
    log = AuditLog(out, store)
    if not log.has(action, work.run):
        log.append(action, run=work.run, clip_id=work.clip_id, **work.audit)


def _delete_stale(place: str, record: Mapping[str, Any], store: Store) -> None:
    """Delete manifests of former files, which do not fit the new ones, and a former access copy."""
    kept = {file.name for file in listed(record)}
    for uri in store.listing(place):
        name = uri.rpartition("/")[2]
        if name.endswith(STALE) and name not in kept and PUBLISHED_NAME.fullmatch(name):
            store.delete(uri)


def _note_review(out: str, work: Commit, review: Mapping[str, object], store: Store) -> None:
    """Write the row of a review. A clip to run again is taken out of runs that may be resumed."""
    write_review(out, review, store)
    if review["decision"] == "rerun" or (review["decision"] == "accept" and review.get("region")):
        for ledger in unfinished(out, store.retry):
            ledger.reopen(work.clip_id, ended_well=True)


def _write_tables(
    out: str, folder: str, work: Commit, record: Mapping[str, Any], store: Store
) -> None:
    """Write the rows of new pictures."""
    assert work.run_row is not None
    row = cast(Mapping[str, Any], record["row"])
    frames = json.loads(store.read_bytes(layout.publishing_file(folder, SERIES)))
    columns = {name: value for name, value in row.items() if name in CLIPS}
    shots, day = row.get("shot_rows", []), date.fromisoformat(work.started[:10])
    regions = standing(row, record["reverts"], store)
    write_replacement(
        out, work.run, day, columns, shots, frames, work.run_row, store,
        regions=regions, findings=row.get("finding_rows", []),
    )  # fmt: skip


def _delete(folder: str, store: Store) -> None:
    """Delete the files of a folder. Without the mark, which is deleted first, they do not count."""
    mark = layout.publishing_commit(folder)
    for uri in (mark, *store.listing(folder)):
        store.delete(uri)
