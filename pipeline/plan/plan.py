"""Predict what the next run does with every clip of a manifest, and how much work there is.

Nothing is written: no lease is taken and no run is opened. Memory holds one part of the manifest,
the names of the published clips, and a sample of the sources.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from importlib.metadata import version
from os.path import dirname, splitext
from pathlib import Path
from typing import NamedTuple

from models.network import checkpoint
from pipeline.clip.clip import Clip
from pipeline.plan.estimate import SourceSize, Stratum
from pipeline.plan.trial import measured
from pipeline.runs.ledger import Ledger
from pipeline.runs.order import embargo
from pipeline.runs.quarantine import Quarantine
from pipeline.runs.results import unchanged
from pipeline.runs.settings import Settings
from pipeline.sources.fetch import source_token
from pipeline.store import layout, storage, timely
from pipeline.store.address import is_s3
from pipeline.store.local import local_path
from pipeline.store.timely import within
from schemas.errors import ClipFault
from schemas.reasons import Reason
from schemas.recipe_book import RecipeBook

ACTIONS = ("run", "up_to_date", "quarantined", "refused", "held")
SAMPLE = 20  # clips of each kind whose headers are read
SAMPLE_OF_STORE = 3  # the same for sources in a store, which must be fetched whole
KINDS = 24  # kinds of clips, by recipe and extension; further ones are counted together
NO_ANSWER = "its disk does not answer. Check the disk, or mount it again."
_PARALLEL = 16  # simultaneous requests


class Decision(NamedTuple):
    """What the next run does with one clip, and why."""

    clip_id: str
    action: str  # one of ACTIONS
    reason: str | None = None
    sentence: str | None = None

    def to_dict(self) -> dict[str, str | None]:
        """The columns that are not empty."""
        return {name: value for name, value in self._asdict().items() if value is not None}


@dataclass
class _Kind:
    """Clips of one kind that are to be restored, and a sample of them."""

    stratum: Stratum
    sample: list[Clip] = field(default_factory=list)


class RunPlan:
    """Decisions about the rows of a manifest, part by part, and their totals."""

    def __init__(self, out: str, book: RecipeBook) -> None:
        ledger = Ledger(out, "plan")  # only a name: this run does not exist
        weights, code = checkpoint.pinned(book.default.model), version("archive-restore")
        self.settings = Settings(ledger, book.default, weights, code, "", book)
        self.counts: Counter[str] = Counter(dict.fromkeys(ACTIONS, 0))
        self.reasons: Counter[str] = Counter()
        self._published = set(storage.folders(layout.clips(out)))
        self._quarantine = Quarantine(self.settings)
        self._kinds: dict[tuple[str, str], _Kind] = {}
        self._answers: dict[str, bool] = {}  # whether the disk of a folder answers
        self._random = random.Random(0)  # fixed: the same manifest gives the same plan

    def add(self, rows: list[Clip]) -> Iterator[Decision]:
        """Yield the decision on each clip, in order."""
        ended = [self._without_source(row) for row in rows]
        tokens = _tokens([r for r, end in zip(rows, ended, strict=True) if end is None])
        for row, end in zip(rows, ended, strict=True):
            decision = end or self._with_source(row, tokens[row.clip_id])
            self.counts[decision.action] += 1
            if decision.reason:
                self.reasons[decision.reason] += 1
            yield decision

    def _without_source(self, row: Clip) -> Decision | None:
        """The decision if the source does not matter. The checks have the order of a run."""
        clip = row.clip_id
        if held := embargo(row):
            return Decision(clip, "held", held.reason, held.sentence)
        if not self._answered(row.source_uri):
            return Decision(clip, "held", Reason.STORE_ERROR, f"{row.source_uri}: {NO_ANSWER}")
        if clip in self._published and unchanged(row, self.settings):
            return Decision(clip, "up_to_date")
        if why := self._quarantine.skipped(row):
            return Decision(clip, "quarantined", str(why["reason"]), str(why["sentence"]))
        return None

    def _answered(self, uri: str) -> bool:
        """Whether the disk of a source answers. Each folder is asked once, with a deadline."""
        if is_s3(uri):
            return True
        folder = dirname(uri)
        if folder not in self._answers:
            try:
                within(timely.START_SECONDS, local_path(folder).exists)
                self._answers[folder] = True
            except timely.TooSlow:
                self._answers[folder] = False
        return self._answers[folder]

    def _with_source(self, row: Clip, token: str | ClipFault) -> Decision:
        clip = row.clip_id
        if isinstance(token, ClipFault):
            action = "held" if token.state == "held" else "refused"
            return Decision(clip, action, token.reason, token.sentence)
        self._count(row, int(token.partition(":")[0]))
        return Decision(clip, "run")

    def _count(self, row: Clip, source_bytes: int) -> None:
        """Add a clip to its kind. Every clip of a kind is equally likely to be in the sample."""
        recipe, uri = self.settings.of(row).recipe, row.source_uri
        key = recipe.digest, splitext(uri)[1].lower()
        if key not in self._kinds and len(self._kinds) >= KINDS:
            key = recipe.digest, ""
        kind = self._kinds.setdefault(key, _Kind(Stratum(recipe)))
        kind.stratum.clips += 1
        kind.stratum.source_bytes += source_bytes
        size = SAMPLE_OF_STORE if is_s3(uri) else SAMPLE
        if len(kind.sample) < size:
            kind.sample.append(row)
        elif (place := self._random.randrange(kind.stratum.clips)) < size:
            kind.sample[place % len(kind.sample)] = row

    def strata(
        self, cache: Path, step: Callable[[str], None] = lambda sentence: None
    ) -> list[Stratum]:
        """The clips to restore, by kind, with the sizes of each sample.

        `step` gets a sentence for each kind.
        """
        for kind in self._kinds.values():
            step(f"reading the headers of {len(kind.sample)} of {kind.stratum.clips} clips")
            kind.stratum.sizes = [self._size(row, kind.stratum, cache) for row in kind.sample]
        return [kind.stratum for kind in self._kinds.values()]

    def _size(self, row: Clip, stratum: Stratum, cache: Path) -> SourceSize:
        """The work in a source. If it cannot be read, count the reason and return no work."""
        try:
            return measured(row, stratum.recipe, cache)
        except ClipFault as fault:
            self.reasons[f"{fault.reason} (in the sample)"] += 1
            return SourceSize(0, 0, 0)

    def samples(self, digest: str) -> list[Clip]:
        """Clips of every kind, in random order, for trials of a recipe."""
        kinds = [kind for (recipe, _), kind in self._kinds.items() if recipe == digest]
        rows = [row for kind in kinds for row in kind.sample]
        return self._random.sample(rows, len(rows))


def _tokens(rows: list[Clip]) -> dict[str, str | ClipFault]:
    """Size and mark of each source, or its fault, by clip. A store gets requests in parallel."""
    remote = [row for row in rows if is_s3(row.source_uri)]
    local = [row for row in rows if not is_s3(row.source_uri)]
    found = {row.clip_id: _token(row) for row in local}
    if remote:
        with ThreadPoolExecutor(_PARALLEL) as pool:
            names = (row.clip_id for row in remote)
            found |= dict(zip(names, pool.map(_token, remote), strict=True))
    return found


def _token(row: Clip) -> str | ClipFault:
    try:
        return source_token(row.source_uri)
    except ClipFault as fault:
        return fault
