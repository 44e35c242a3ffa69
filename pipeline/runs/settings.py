"""What every stage of a run needs to know."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace

from models.network.weights import pinned
from pipeline.clip.clip import Clip
from pipeline.clip.conversion import DONE
from pipeline.proof.record import file_uri, restored_name
from pipeline.runs.ledger import Ledger
from pipeline.store.store import Store
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

    def of(self, clip: Clip) -> Settings:
        """The settings of one clip: those of its recipe."""
        recipe = self.book.of(clip.recipe, clip.collection) if self.book else self.recipe
        if recipe == self.recipe:
            return self
        same = recipe.model == self.recipe.model
        weights = self.weights_sha256 if same else pinned(recipe.model)
        return replace(self, recipe=recipe, weights_sha256=weights)

    @property
    def out(self) -> str:
        return self.ledger.out

    @property
    def store(self) -> Store:
        """The store of the output, with the run's retry policy."""
        return self.ledger.store

    def work_key(self, source_sha256: str, clip: Clip) -> str:
        """Hash of all that decides a clip's result: source, recipe, weights, code, and the columns
        of its manifest row that concern the picture.
        """
        decisive = [f"{name}={value}" for name in DECISIVE if (value := getattr(clip, name))]
        parts = (source_sha256, self.recipe.digest, self.weights_sha256, self.code, *decisive)
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()

    def clip_uri(self, clip: Clip, suffix: str = "") -> str:
        """Where a clip's restored file, or a sidecar of it, is published."""
        name = restored_name(clip.clip_id, frames_made(clip, self.recipe))
        return file_uri(self.out, clip.clip_id, name + suffix)


def setting_of(clip: Clip, recipe: Recipe, name: str) -> str:
    """A setting of the clip's manifest row, or else of its recipe."""
    return str(getattr(clip, name) or getattr(recipe, name))


def frames_made(clip: Clip, recipe: Recipe) -> list[str]:
    """Words for frames that the source does not have: converted from fields, or filled.

    A clip that does not allow the conversion ends with a reason code, so a published file always
    keeps what its name says.
    """
    policy = setting_of(clip, recipe, "interlace")
    words = [DONE[policy]] if policy in DONE else []
    return [*words, "filled"] if clip.fill and recipe.strength else words
