"""What the next run would do with every clip of a manifest, and what it has to work on.

Nothing is written: no lease is taken and no run is opened. Memory holds one part of the manifest,
the names of what is published, and a sample of the sources.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

from models.network import checkpoint
from pipeline.clip.clip import Clip
from pipeline.plan.estimate import Size, Stratum
from pipeline.plan.trial import measured
from pipeline.runs.ledger import Ledger
from pipeline.runs.order import embargo
from pipeline.runs.quarantine import Quarantine
from pipeline.runs.results import unchanged
from pipeline.runs.settings import Settings
from pipeline.sources.fetch import source_token
from pipeline.store import storage
from schemas.errors import ClipFault
from schemas.recipe_book import RecipeBook

ACTIONS = ("run", "up_to_date", "quarantined", "refused", "held")
SAMPLE = 20  # clips of a kind whose headers are read
SAMPLE_OF_STORE = 3  # the same for sources in a store, which are fetched whole for it
KINDS = 24  # of files that are told apart, by recipe and extension
_PARALLEL = 16  # requests at once


class Decision(NamedTuple):
    """What a run would do with one clip, and why."""

    clip_id: str
    action: str  # one of ACTIONS
    reason: str | None = None
    sentence: str | None = None

    def to_dict(self) -> dict[str, str | None]:
        """The columns that say something."""
        return {name: value for name, value in self._asdict().items() if value is not None}


@dataclass
class _Kind:
    """Clips to restore that are alike, and a sample of them."""

    stratum: Stratum
    sample: list[Clip] = field(default_factory=list)


class Plan:
    """Decisions about rows as they come, and what they add up to."""

    def __init__(self, out: str, book: RecipeBook) -> None:
        ledger = Ledger(out, "plan")  # a name; there is no such run
        weights, code = checkpoint.pinned(book.default.model), version("archive-restore")
        self.settings = Settings(ledger, book.default, weights, code, "", book)
        self.counts: Counter[str] = Counter(dict.fromkeys(ACTIONS, 0))
        self.reasons: Counter[str] = Counter()
        self._published = set(storage.folders(storage.join(out, "clips")))
        self._quarantine = Quarantine(self.settings)
        self._kinds: dict[tuple[str, str], _Kind] = {}
        self._random = random.Random(0)  # the same plan of the same manifest

    def add(self, rows: list[Clip]) -> Iterator[Decision]:
        """Yield the decision about each row, in order."""
        ended = [self._without_source(row) for row in rows]
        tokens = _tokens([r for r, end in zip(rows, ended, strict=True) if end is None])
        for row, end in zip(rows, ended, strict=True):
            decision = end or self._with_source(row, tokens[row.clip_id])
            self.counts[decision.action] += 1
            if decision.reason:
                self.reasons[decision.reason] += 1
            yield decision

    def _without_source(self, row: Clip) -> Decision | None:
        """In the order in which a run asks."""
        clip = row.clip_id
        if held := embargo(row):
            return Decision(clip, "held", held.reason, held.sentence)
        if clip in self._published and unchanged(row, self.settings):
            return Decision(clip, "up_to_date")
        if why := self._quarantine.skipped(row):
            return Decision(clip, "quarantined", str(why["reason"]), str(why["sentence"]))
        return None

    def _with_source(self, row: Clip, token: str | ClipFault) -> Decision:
        clip = row.clip_id
        if isinstance(token, ClipFault):
            action = "held" if token.state == "held" else "refused"
            return Decision(clip, action, token.reason, token.sentence)
        self._count(row, int(token.partition(":")[0]))
        return Decision(clip, "run")

    def _count(self, row: Clip, source_bytes: int) -> None:
        """Add a clip to its kind; each of a kind is as likely as any other to be in its sample."""
        recipe, uri = self.settings.of(row).recipe, row.source_uri
        key = recipe.digest, Path(uri).suffix.lower()
        if key not in self._kinds and len(self._kinds) >= KINDS:
            key = recipe.digest, ""
        kind = self._kinds.setdefault(key, _Kind(Stratum(recipe)))
        kind.stratum.clips += 1
        kind.stratum.source_bytes += source_bytes
        size = SAMPLE_OF_STORE if storage.is_s3(uri) else SAMPLE
        if len(kind.sample) < size:
            kind.sample.append(row)
        elif (place := self._random.randrange(kind.stratum.clips)) < size:
            kind.sample[place % len(kind.sample)] = row

    def strata(self, cache: Path) -> list[Stratum]:
        """The clips to restore by kind, each with the sizes of its sample."""
        for kind in self._kinds.values():
            kind.stratum.sizes = [self._size(row, kind.stratum, cache) for row in kind.sample]
        return [kind.stratum for kind in self._kinds.values()]

    def _size(self, row: Clip, stratum: Stratum, cache: Path) -> Size:
        """How much work a source is; one that cannot be read is none, and its reason is counted."""
        try:
            return measured(row, stratum.recipe, cache)
        except ClipFault as fault:
            self.reasons[f"{fault.reason} (in the sample)"] += 1
            return Size(0, 0, 0)

    def samples(self, digest: str) -> list[Clip]:
        """Clips to try a recipe on, of every kind some."""
        kinds = [kind for (recipe, _), kind in self._kinds.items() if recipe == digest]
        rows = [row for kind in kinds for row in kind.sample]
        return self._random.sample(rows, len(rows))


def _tokens(rows: list[Clip]) -> dict[str, str | ClipFault]:
    """Size and mark of the sources by clip, or what is wrong; a store is asked many at once."""
    remote = [row for row in rows if storage.is_s3(row.source_uri)]
    local = [row for row in rows if not storage.is_s3(row.source_uri)]
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
