"""The settings of a run, which every stage gets."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace

from models.network.weights import pinned
from pipeline.clip.clip import Clip
from pipeline.clip.conversion import DONE
from pipeline.runs.ledger import Ledger
from pipeline.store.layout import clip_file, restored_name
from pipeline.store.storage import Store
from schemas.manifest import DECISIVE
from schemas.recipe import Recipe
from schemas.recipe_book import RecipeBook


@dataclass(frozen=True)
class Settings:
    """The settings of a run. Small, and the same on every worker."""

    ledger: Ledger
    recipe: Recipe
    weights_sha256: str
    code: str
    cache: str  # folder on the worker's own disk
    book: RecipeBook | None = None  # if clips or collections have their own recipes

    def of(self, clip: Clip) -> Settings:
        """The settings with the recipe and the weights of one clip."""
        recipe = self.book.of(clip.recipe, clip.collection) if self.book else self.recipe
        if recipe is self.recipe or recipe == self.recipe:
            return self
        same = recipe.model == self.recipe.model
        weights = self.weights_sha256 if same else pinned(recipe.model)
        return replace(self, recipe=recipe, weights_sha256=weights)

    def without_retries(self) -> Settings:
        """The same settings, with a store that is tried once."""
        ledger = self.ledger
        return replace(self, ledger=Ledger(ledger.out, ledger.run, ledger.session))

    @property
    def out(self) -> str:
        return self.ledger.out

    @property
    def store(self) -> Store:
        """The store of the output, with the run's retry policy."""
        return self.ledger.store

    def work_key(self, source_sha256: str, clip: Clip) -> str:
        """Hash of everything that decides a clip's result.

        That is source, recipe, weights, code, and the manifest columns that concern the picture.
        """
        decisive = [f"{name}={value}" for name in DECISIVE if (value := getattr(clip, name))]
        parts = (source_sha256, self.recipe.digest, self.weights_sha256, self.code, *decisive)
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()

    def clip_uri(self, clip: Clip, suffix: str = "") -> str:
        """The address of a clip's master, or of the file beside it with this suffix."""
        name = restored_name(clip.clip_id, frames_made(clip, self.recipe))
        return clip_file(self.out, clip.clip_id, name + suffix)


def setting_of(clip: Clip, recipe: Recipe, name: str) -> str:
    """A setting from the clip's manifest row, else from its recipe."""
    return str(getattr(clip, name) or getattr(recipe, name))


def frames_made(clip: Clip, recipe: Recipe) -> list[str]:
    """Words in a file name for frames that the source does not have: converted, or filled.

    If a conversion is not possible, the clip ends with a reason code. So the name of a published
    file is always true.
    """
    policy = setting_of(clip, recipe, "interlace")
    words = [DONE[policy]] if policy in DONE else []
    return [*words, "filled"] if clip.fill and recipe.strength else words
