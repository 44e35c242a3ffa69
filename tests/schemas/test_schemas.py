"""Schemas: reasons, errors, the recipe, and the generated pages that describe them."""

import pickle
from collections.abc import Callable
from pathlib import Path

import pytest

from schemas import docs
from schemas.errors import ArchiveError, ClipFault
from schemas.reasons import REASONS, Reason
from schemas.recipe import RECIPES, Limits, Recipe, load_recipe, parse_recipe, parse_recipe_table

DOCS = Path(__file__).resolve().parents[2] / "docs"


@pytest.mark.parametrize("reason", list(Reason))
def test_every_reason_has_a_meaning_and_a_next_step(reason: Reason) -> None:
    info = REASONS[reason]
    assert reason.name == reason.value == str(reason)
    assert info.meaning.endswith(".")
    assert info.next_step.endswith(".")
    assert info.state in ("quarantined", "failed", "held")


def test_a_fault_crosses_processes_whole() -> None:
    fault = pickle.loads(pickle.dumps(ClipFault(Reason.NOT_FOUND, "no such\nclip")))
    assert (fault.reason, fault.sentence) == (Reason.NOT_FOUND, "no such clip")
    assert (fault.state, fault.exit_code) == ("quarantined", 3)
    assert str(fault) == "NOT_FOUND: no such clip"
    assert fault.next_step == REASONS[Reason.NOT_FOUND].next_step


def test_an_error_is_one_line_with_an_exit_code() -> None:
    error = pickle.loads(pickle.dumps(ArchiveError("two\nlines", exit_code=5)))
    assert (str(error), error.exit_code) == ("two lines", 5)
    assert ArchiveError("x").exit_code == 2


def test_the_default_recipe() -> None:
    recipe = load_recipe("film")
    assert recipe == Recipe() == RECIPES["film"]
    assert (recipe.model, recipe.strength) == ("base", 1.0)
    assert (recipe.shard_frames, recipe.profiles, recipe.slices) == (120, ("preservation",), 16)


def test_a_recipe_comes_back_from_its_file(tmp_path: Path) -> None:
    recipe = Recipe(name="gentle", strength=0.5, deflicker=False, limits=Limits(max_frames=10))
    path = tmp_path / "gentle.toml"
    path.write_text(recipe.to_toml())
    assert load_recipe(path) == recipe
    assert load_recipe(str(path)).digest == recipe.digest
    assert parse_recipe_table(recipe.to_dict()) == recipe


def test_a_file_keeps_the_defaults_of_what_it_leaves_out(tmp_path: Path) -> None:
    path = tmp_path / "half.toml"
    path.write_text("strength = 1\n[limits]\nmax_frames = 5\n")
    assert load_recipe(path) == Recipe(name="half", limits=Limits(max_frames=5))
    assert parse_recipe("strength = 1", "film").digest == Recipe().digest


def test_the_digest_follows_every_setting() -> None:
    others = [
        Recipe(name="other"),
        Recipe(model="fast"),
        Recipe(strength=0.9),
        Recipe(grain=0.9),
        Recipe(deflicker=False),
        Recipe(shard_frames=60),
        Recipe(slices=24),
        Recipe(limits=Limits(wall_seconds=1)),
        Recipe(access_label="Digitally restored"),
        Recipe(access_copies="accepted"),
        Recipe(residual=True),
    ]
    assert len({recipe.digest for recipe in [Recipe(), *others]}) == len(others) + 1


def test_the_digest_is_stable() -> None:
    # A new digest makes every clip new work: it changes only together with the recipe's fields.
    assert Recipe().digest == "5e69275e975cc98e63d1d0a83dcffb521b2fb42563878e25c4bda942ca955a6c"


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("strenght = 1", ["'strenght'", "strength"]),
        ("strength = 1.5", ["strength = 1.5", "0 to 1"]),
        ("strength = nan", ["strength", "0 to 1"]),
        ("strength = '1'", ["strength = '1'"]),
        ("model = 'huge'", ["'huge'", "fast, base"]),
        ("shard_frames = 0", ["shard_frames = 0", "2 to 10000"]),
        ("shard_frames = true", ["shard_frames = True"]),
        ("shard_frames = 9.0", ["shard_frames = 9.0"]),
        ("deflicker = 1", ["deflicker = 1", "true or false"]),
        ("slices = 5", ["slices = 5", "16"]),
        ("access_label = 'restauré'", ["access_label = 'restauré'", "40 ASCII"]),
        ("access_label = ' '", ["access_label", "without a space"]),
        ("name = '../film'", ["name"]),
        ("profile = 'access'", ["'profile'", "profiles"]),
        ("profiles = ['acess']", ["'acess'", "preservation", "access"]),
        ("profiles = [['access']]", ["'access'", "preservation"]),
        ("profiles = 'access'", ["'access'", "a list of"]),
        ("limits = 3", ["limits = 3"]),
        ("[limits]\nframes = 3", ["'limits.frames'", "max_frames"]),
        ("[limits]\nmax_pixels = 0", ["limits.max_pixels = 0"]),
        ("'limits.max_pixels' = 400", ["unknown key"]),
        ("shard_frames = 0\nslices = 5", ["shard_frames", "slices"]),
        ("model =", ["not TOML"]),
    ],
)
def test_a_wrong_recipe_names_key_value_and_what_is_allowed(text: str, parts: list[str]) -> None:
    with pytest.raises(ArchiveError) as caught:
        parse_recipe(text)
    assert all(part in str(caught.value) for part in parts), str(caught.value)


def test_an_unknown_recipe_names_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match="film"):
        load_recipe("flim")
    (tmp_path / "a.toml").write_bytes(b"\xff")
    with pytest.raises(ArchiveError, match="cannot be read"):
        load_recipe(tmp_path / "a.toml")


@pytest.mark.parametrize(("name", "make"), docs.PAGES.items())
def test_generated_pages_are_up_to_date(name: str, make: Callable[[], str]) -> None:
    assert (DOCS / name).read_text(encoding="utf-8") == make(), "run `make docs`"
