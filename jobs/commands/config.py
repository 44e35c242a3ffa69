"""The commands about recipes: config show, config diff."""

from __future__ import annotations

from typing import Annotated

import typer

from jobs.console import output
from jobs.console.options import Json, Recipes

app = typer.Typer(help="Show and compare recipes.", no_args_is_help=True)


@app.command()
def show(
    recipe: Annotated[str, typer.Argument(help="A built-in recipe, or a TOML file.")] = "film",
    recipes: Recipes = None,
    collection: Annotated[
        str | None, typer.Option(help="Show the recipe of this collection.")
    ] = None,
    resolved: Annotated[
        bool, typer.Option("--resolved", help="Show every setting, also inherited ones.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Show a recipe, or the recipe of a collection.

    Without --resolved, only the name and the settings that differ from the built-in recipe `film`
    are shown. The output is a recipe file. A run restores a clip again when the SHA-256 of its
    recipe has changed.

    \b
    Example:
        archive-restore config show --resolved --recipes recipes --collection newsreels
    """
    from schemas.recipe import RECIPES
    from schemas.recipe_book import load_book

    found = load_book(recipe, recipes).of(None, collection)
    settings = {
        key: value
        for key, value in flat(found.to_dict()).items()
        if resolved or value != flat(RECIPES["film"].to_dict())[key]
    }
    if as_json:
        output.emit({"recipe": found.name, "sha256": found.digest, "settings": settings})
    else:
        output.say(f"# sha256 {found.digest}\n{found.to_toml(whole=resolved).rstrip()}")


@app.command()
def diff(
    first: Annotated[str, typer.Argument(help="A built-in recipe, or a TOML file.")],
    second: Annotated[str, typer.Argument(help="Another recipe or TOML file.")],
    as_json: Json = False,
) -> None:
    """List the settings in which two recipes differ.

    Inherited settings are compared too. The exit code is 0, also if the recipes differ.

    \b
    Example:
        archive-restore config diff film recipes/newsreels.toml
    """
    from schemas.recipe import load_recipe

    one, two = (flat(load_recipe(name).to_dict()) for name in (first, second))
    rows = [
        {"setting": key, "first": one[key], "second": two[key]}
        for key in one
        if one[key] != two[key]
    ]
    if as_json:
        output.emit({"differences": rows})
    else:
        output.say(output.table(rows) if rows else "no setting differs")


def flat(table: dict[str, object], prefix: str = "") -> dict[str, object]:
    """Return a nested table with dotted keys, such as ``limits.max_pixels``."""
    found: dict[str, object] = {}
    for key, value in table.items():
        if isinstance(value, dict):
            found |= flat(value, f"{prefix}{key}.")
        else:
            found[prefix + key] = value
    return found
