"""Which recipe a clip gets: its own, its collection's, or the run's.

A folder of recipes holds `<name>.toml` for each. A row of the manifest names its recipe in the
column `recipe`; else its collection decides, by `[collections]` of the folder's `collections.toml`
(`"Newsreels 1932" = "tape"`) or by a file of the collection's own name; else it is the run's.
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
    """The recipes of a run, resolved: its own, those by name, and the names by collection."""

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
            raise ArchiveError(f"the manifest names the recipe {name!r}; there are: {known}")
        return found or self.default

    @property
    def digest(self) -> str:
        """Hash of all that could decide a clip's recipe; that of the one recipe where it is so."""
        if not self.named and not self.collections:
            return self.default.digest
        recipes = {name: recipe.digest for name, recipe in self.named.items()}
        facts = [self.default.digest, recipes, dict(self.collections)]
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()

    def files(self) -> Iterator[tuple[str, str]]:
        """Names and texts of the files of a folder that loads as this book's recipes."""
        for name, recipe in self.named.items():
            yield f"{name}.toml", recipe.to_toml()
        lines = [f"{json.dumps(c, ensure_ascii=False)} = {json.dumps(name)}"
                 for c, name in self.collections.items()]  # fmt: skip
        yield COLLECTIONS_FILE, "\n".join(["[collections]", *lines]) + "\n"


def as_book(recipes: Recipe | RecipeBook) -> RecipeBook:
    """One recipe as a book, and a book as it is."""
    return recipes if isinstance(recipes, RecipeBook) else RecipeBook(recipes)


def load_book(default: str, folder: str | Path | None = None) -> RecipeBook:
    """Return the run's recipe, by name or file, with those of a folder. Raises ArchiveError.

    Every fault of every file is named at once.
    """
    if folder is None:
        return RecipeBook(load_recipe(default))
    root, faults = Path(folder), []
    if not root.is_dir():
        raise ArchiveError(f"--recipes {folder}: is not a folder")
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
    """Return the recipe's name of every collection in the table, and what is wrong with it."""
    if not path.is_file():
        return {}, []
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        return {}, [f"{path}: cannot be read: {error}"]
    found = table.pop("collections", {})
    faults = [f"{path}: unknown key {key!r}; allowed: collections" for key in table]
    if not isinstance(found, Mapping):
        return {}, [*faults, f"{path}: collections is not a table"]
    for collection, name in found.items():
        if not isinstance(name, str) or name not in known:
            there = ", ".join(sorted(known))
            faults.append(f"{path}: {collection!r} = {name!r} is no recipe; there are: {there}")
    return dict(found), faults
