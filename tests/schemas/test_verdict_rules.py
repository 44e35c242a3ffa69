"""Rules of the verdict in TOML: what they may hold, and how a recipe replaces them."""

from pathlib import Path

import pytest

from schemas.errors import ArchiveError
from schemas.recipe import Recipe, load_recipe, parse_recipe
from schemas.verdict_rules import (
    built_in_rules,
    load_rules,
    parse_rules,
    rules_toml,
    rules_with,
)

WHOLE = '[[rules]]\nname = "a"\nsays = "b"\nmeasure = "luma_shift"\nverdict = "fail"\nabove = 1\n'


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("rules = 3", "write .*rules"),
        (WHOLE.replace("luma_shift", "x"), "measure = 'x' is not"),
        (WHOLE.replace("above = 1", ""), "give one number"),
        (WHOLE.replace("above = 1", "above = nan"), "give one number"),
        (WHOLE + "below = 2", "give one number"),
        (WHOLE + "colour = 2", "unknown key 'colour'"),
        (WHOLE + WHOLE, "the rule 'a' is there twice"),
        (WHOLE.replace('"b"', '" "'), "says is missing"),
        ("other = 1", "unknown key 'other'"),
        ("[[rules", "cannot be read"),
    ],
)
def test_faults_of_a_rules_file_are_named(tmp_path: Path, text: str, sentence: str) -> None:
    path = tmp_path / "rules.toml"
    path.write_text(text)
    with pytest.raises(ArchiveError, match=sentence):
        load_rules(path)


def test_a_recipe_has_its_own_rules(tmp_path: Path) -> None:
    (tmp_path / "strict.toml").write_text(
        f'{WHOLE}[[rules]]\nname = "region_changed"\nabove = 0.5\n'
        '[[rules]]\nname = "edges_lost"\nverdict = "pass"\n'
    )
    (tmp_path / "base.toml").write_text('rules = "strict.toml"\nstrength = 0.5\n')
    (tmp_path / "tape.toml").write_text('extends = "base.toml"\n')
    recipe = load_recipe(tmp_path / "tape.toml")
    rules = {rule.name: rule for rule in rules_with(recipe.rules)}
    assert len(rules) == len(built_in_rules()) + 1
    assert rules["region_changed"].limit == 0.5
    assert rules["region_changed"].says == built_in_rules()[2].says
    assert rules["edges_lost"].verdict == "pass"
    assert parse_recipe(recipe.to_toml()) == recipe
    assert load_rules_of(tmp_path, recipe) == recipe.rules


def load_rules_of(folder: Path, recipe: Recipe) -> object:
    (folder / "again.toml").write_text(rules_toml(recipe.rules))
    return load_rules(folder / "again.toml")


def test_rules_are_no_new_work() -> None:
    strict = parse_recipe('name = "film"\n[[rules]]\nname = "region_changed"\nabove = 0.5\n')
    assert strict != Recipe() and strict.digest == Recipe().digest


def test_a_wrong_rule_of_a_recipe_is_named() -> None:
    with pytest.raises(ArchiveError, match=r"rule 1: verdict = 'bad' is not one of pass, needs"):
        parse_recipe('[[rules]]\nname = "region_changed"\nverdict = "bad"\n')
    with pytest.raises(ArchiveError, match=r"write .*rules"):
        parse_recipe("rules = 3\n")


def test_a_fallback_needs_a_failure() -> None:
    (rule,), faults = parse_rules([{"name": "out_of_step", "above": 0.4}])
    assert (rule.fallback, faults) == ("shot", [])
    (rule,), faults = parse_rules([{"name": "out_of_step", "verdict": "pass"}])
    assert (rule.fallback, faults) == ("none", [])
    _, faults = parse_rules([{"name": "region_changed", "fallback": "region"}])
    assert faults == ["rule 1: fallback = 'region' needs verdict = 'fail'"]
    _, faults = parse_rules([{"name": "out_of_step", "fallback": "all"}])
    assert faults == ["rule 1: fallback = 'all' is not one of region, shot, clip, none"]
