"""What every stage of a run needs to know."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from models.network.weights import pinned
from pipeline.clip.conversion import DONE
from pipeline.runs.ledger import Ledger
from pipeline.store.layout import clip_file, restored_name
from schemas.manifest import DECISIVE
from schemas.recipe import Recipe
from schemas.recipe_book import RecipeBook


@dataclass(frozen=True)
class Settings:
    """What every stage needs to know; small, and the same on every worker."""

    ledger: Ledger
    recipe: Recipe
    weights_sha256: str
    code: str
    cache: str  # folder on the worker's own disk
    book: RecipeBook | None = None  # where clips have recipes of their own

    def of(self, row: Mapping[str, Any]) -> Settings:
        """The settings of one clip of the manifest: those of its recipe."""
        recipe = self.book.of(row) if self.book else self.recipe
        if recipe == self.recipe:
            return self
        same = recipe.model == self.recipe.model
        weights = self.weights_sha256 if same else pinned(recipe.model)
        return replace(self, recipe=recipe, weights_sha256=weights)

    @property
    def out(self) -> str:
        return self.ledger.out

    def work_key(self, source_sha256: str, row: Mapping[str, Any]) -> str:
        """Hash of all that decides a clip's result: source, recipe, weights, code, and what its row
        of the manifest says of its pictures.
        """
        said = [f"{name}={row[name]}" for name in DECISIVE if row.get(name)]
        parts = (source_sha256, self.recipe.digest, self.weights_sha256, self.code, *said)
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()

    def clip_uri(self, row: Mapping[str, Any], suffix: str = "") -> str:
        """Where a clip's restored file, or a sidecar of it, is published."""
        name = restored_name(str(row["clip_id"]), frames_made(row, self.recipe))
        return clip_file(self.out, str(row["clip_id"]), name + suffix)


def asked(row: Mapping[str, Any], recipe: Recipe, setting: str) -> str:
    """A setting of the recipe, or what the manifest's row has in its place."""
    return str(row.get(setting) or getattr(recipe, setting))


def frames_made(row: Mapping[str, Any], recipe: Recipe) -> list[str]:
    """Words for frames that the source does not have: made of fields, or where one was missing.

    Where the clip does not allow what is asked for, it ends with a reason code: a file that is
    published keeps what its name says.
    """
    policy = asked(row, recipe, "interlace")
    words = [DONE[policy]] if policy in DONE else []
    return [*words, "filled"] if row.get("fill") and recipe.strength else words
