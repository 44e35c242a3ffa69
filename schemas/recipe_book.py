"""The recipe of each clip: its own, that of its collection, or that of the run.

A folder of recipes has one file `<name>.toml` for each recipe. The first match decides:

1. the column `recipe` of the manifest row,
2. the collection of the row: `[collections]` in the folder's `collections.toml`
   (`"Newsreels 1932" = "tape"`), or a recipe with the name of the collection,
3. the recipe of the run.
"""

import hashlib
import json
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from schemas.errors import ArchiveError
from schemas.recipe import RECIPES, Recipe, load_recipe

COLLECTIONS_FILE = "collections.toml"


@dataclass(frozen=True)
class RecipeBook:
    """The resolved recipes of a run: default, recipes by name, recipe names by collection."""

    default: Recipe
    named: Mapping[str, Recipe] = field(default_factory=dict)
    collections: Mapping[str, str] = field(default_factory=dict)

    def of(self, recipe: str | None, collection: str | None) -> Recipe:
        """The recipe of a clip that names one, or of a clip of a collection.

        Raises ArchiveError for the name of a recipe that does not exist.
        """
        if recipe is not None:
            return self._named(recipe)
        collection = collection or ""
        name = self.collections.get(collection, collection)
        return self.named.get(name, self.default) if name else self.default

    def _named(self, name: str) -> Recipe:
        found = self.named.get(name) or RECIPES.get(name)
        if found is None and name != self.default.name:
            known = ", ".join(sorted({*self.named, *RECIPES, self.default.name}))
            raise ArchiveError(
                f"the manifest has the unknown recipe {name!r}; known recipes: {known}"
            )
        return found or self.default

    @property
    def digest(self) -> str:
        """Return a hash of all recipes and collections.

        For a book with one recipe it is the digest of that recipe.
        """
        if not self.named and not self.collections:
            return self.default.digest
        recipes = {name: recipe.digest for name, recipe in self.named.items()}
        facts = [self.default.digest, recipes, dict(self.collections)]
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()

    def files(self) -> Iterator[tuple[str, str]]:
        """Return names and texts of the files that `load_book` reads back to these recipes."""
        for name, recipe in self.named.items():
            yield f"{name}.toml", recipe.to_toml()
        lines = [f"{json.dumps(c, ensure_ascii=False)} = {json.dumps(name)}"
                 for c, name in self.collections.items()]  # fmt: skip
        yield COLLECTIONS_FILE, "\n".join(["[collections]", *lines]) + "\n"


def as_book(recipes: Recipe | RecipeBook) -> RecipeBook:
    """Return a book: a single recipe becomes the default of a new book."""
    return recipes if isinstance(recipes, RecipeBook) else RecipeBook(recipes)


def load_book(default: str, folder: str | Path | None = None) -> RecipeBook:
    """Return the recipe of the run (a name or a file) and the recipes of a folder.

    Raises ArchiveError with every fault of every file.
    """
    if folder is None:
        return RecipeBook(load_recipe(default))
    root, faults = Path(folder), []
    if not root.is_dir():
        raise ArchiveError(f"--recipes {folder}: not a folder")
    named: dict[str, Recipe] = {}
    for path in sorted(root.glob("*.toml")):
        if path.name == COLLECTIONS_FILE:
            continue
        try:
            named[path.stem] = load_recipe(path)
        except ArchiveError as error:
            faults.append(error.message)
    collections, wrong = _collections(root / COLLECTIONS_FILE, {*named, *RECIPES})
    if faults := [*faults, *wrong]:
        raise ArchiveError("; ".join(faults))
    used = {name: RECIPES[name] for name in collections.values() if name not in named}
    return RecipeBook(named.get(default) or load_recipe(default), named | used, collections)


def _collections(path: Path, known: set[str]) -> tuple[dict[str, str], list[str]]:
    """Return the recipe name of each collection in a `collections.toml`, and its faults."""
    if not path.is_file():
        return {}, []
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        return {}, [f"{path}: cannot be read: {error}"]
    found = table.pop("collections", {})
    faults = [f"{path}: unknown key {key!r}; allowed: collections" for key in table]
    if not isinstance(found, Mapping):
        return {}, [*faults, f"{path}: `collections` is not a table"]
    for collection, name in found.items():
        if not isinstance(name, str) or name not in known:
            there = ", ".join(sorted(known))
            faults.append(
                f"{path}: {collection!r} = {name!r} is not a recipe; known recipes: {there}"
            )
    return dict(found), faults
