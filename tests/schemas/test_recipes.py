"""Recipes by collection: inheritance, faults, and the clips that a change affects."""

import json
from collections.abc import Callable
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from jobs import cli
from jobs.cluster.submit import _limits, _write_recipes
from jobs.console import output
from pipeline.clip.clip import Clip
from pipeline.runs.results import common_columns
from pipeline.runs.run import Run
from pipeline.runs.stop import Stop
from pipeline.store import storage
from schemas.errors import ArchiveError
from schemas.reasons import Reason
from schemas.recipe import RECIPES, Limits, Recipe, load_recipe
from schemas.recipe_book import RecipeBook, load_book
from schemas.verdict_rules import VerdictRule
from tests.support.results import end, published


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Recipes: `base`, `tape` which extends it, and collections by table and by name."""
    root = tmp_path / "recipes"
    root.mkdir()
    (root / "base.toml").write_text(
        'extends = "film"\nstrength = 0.5\n[limits]\nwall_seconds = 60\nmax_frames = 9\n'
    )
    (root / "tape.toml").write_text('extends = "base"\nslices = 24\n[limits]\nmax_frames = 99\n')
    (root / "collections.toml").write_text('[collections]\n"News 1932" = "tape"\n')
    return root


def invoke(*arguments: str) -> Any:
    return CliRunner().invoke(cli.app, arguments)


ALL_SETTINGS = Recipe(
    name="all.1", model="fast", strength=0.25, grain=0.5, deflicker=False, clean="restore",
    suspects="repair",
    interlace="ivtc", gaps="allowed", shard_frames=60, profiles=("preservation", "access"),
    slices=24, change_map=True, residual=True, canaries=0.1,
    access_copies="accepted", access_label='a "restoration"',
    limits=Limits(max_pixels=1_000_000, max_frames=99, wall_seconds=60, address_space_mb=1024),
    rules=(
        VerdictRule("soft", "edges_kept", "fail", 'it is "soft"', below=0.5),
        VerdictRule("region_changed", "largest_change", "pass", "never", above=1.0),
    ),
)  # fmt: skip


@pytest.mark.parametrize("recipe", [*RECIPES.values(), ALL_SETTINGS], ids=lambda r: r.name)
@pytest.mark.parametrize("options", [[], ["--resolved"]])
def test_a_shown_recipe_loads_back(tmp_path: Path, recipe: Recipe, options: list[str]) -> None:
    assert all(
        getattr(ALL_SETTINGS, field.name) != getattr(Recipe(), field.name)
        for field in fields(Recipe)
    )
    source, shown = tmp_path / "source.toml", tmp_path / "shown.toml"
    source.write_text(recipe.to_toml())
    shown.write_text(invoke("config", "show", str(source), *options).stdout)
    assert load_recipe(shown) == recipe


def test_a_recipe_inherits_missing_settings(folder: Path) -> None:
    tape = load_recipe(folder / "tape.toml")
    assert (tape.name, tape.strength, tape.slices) == ("tape", 0.5, 24)
    assert (tape.limits.wall_seconds, tape.limits.max_frames) == (60, 99)
    assert tape.limits.max_pixels == Recipe().limits.max_pixels


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('extends = "x"', "extends itself"),
        ('extends = "nothing"', "neither a built-in name"),
        ("extends = 3", "is not a built-in name"),
        ('extends = "film"\nslices = 99\nstrength = "much"', "strength = 'much' .*; slices = 99"),
    ],
)
def test_a_wrong_inheritance_is_named(text: str, sentence: str, tmp_path: Path) -> None:
    (tmp_path / "x.toml").write_text(text)
    with pytest.raises(ArchiveError, match=sentence):
        load_recipe(tmp_path / "x.toml")


def test_the_row_decides_then_the_collection_then_the_run(folder: Path) -> None:
    book = load_book("film", folder)
    names = {
        book.of(*chosen).name: chosen
        for chosen in (("base", "News 1932"), (None, "News 1932"), (None, "other"))
    }
    assert list(names) == ["base", "tape", "film"]
    assert book.of(None, "base").name == "base"
    assert load_book("film").digest == Recipe().digest
    with pytest.raises(ArchiveError, match="'nonesuch'"):
        book.of("nonesuch", None)


def test_every_fault_of_every_file_is_named(folder: Path) -> None:
    (folder / "bad.toml").write_text("slices = 0\nmood = 1\n")
    (folder / "worse.toml").write_text("not toml")
    (folder / "collections.toml").write_text('more = 1\n[collections]\na = "none"\nb = 3\n')
    with pytest.raises(ArchiveError) as caught:
        load_book("film", folder)
    for part in ("slices = 0", "'mood'", "worse", "'more'", "'a' = 'none'", "'b' = 3"):
        assert part in str(caught.value)


def test_a_cluster_gets_the_same_recipes(folder: Path, tmp_path: Path) -> None:
    book = load_book("film", folder)
    there = tmp_path / "there"
    there.mkdir()
    _write_recipes(there, book)
    again = load_book(str(there / "recipe.toml"), there / "recipes")
    assert again.digest == book.digest
    assert _limits(Stop(max_gpu_hours=2.5), 7) == ["--max-gpu-hours", "2.5", "--max-review", "7"]


def test_a_change_of_one_recipe_affects_only_its_collection(folder: Path, tmp_path: Path) -> None:
    rows = [
        Clip("n", "/n.mkv", collection="News 1932"),
        Clip("f", "/f.mkv", collection="films"),
    ]

    def keys() -> tuple[Run, dict[str, tuple[str, str]]]:
        book = load_book("film", folder)
        work = Run.open("m.csv", rows, str(tmp_path / "out"), book, lambda event: None)
        clips = {clip.clip_id: work.settings.of(clip) for clip in rows}
        return work, {
            c: (s.work_key("00", Clip("", "")), s.recipe.digest) for c, s in clips.items()
        }

    work, before = keys()
    row = common_columns(rows[0], work.settings, "published")
    assert row["recipe_sha256"] == load_recipe(folder / "tape.toml").digest
    kept = storage.read_bytes(f"{work.settings.ledger.uri}/recipes/tape.toml")
    assert b"slices = 24" in kept
    (folder / "tape.toml").write_text('extends = "base"\nslices = 30\n')
    again, after = keys()
    assert again.settings.ledger.run != work.settings.ledger.run
    assert after["f"] == before["f"] and after["n"] != before["n"]


def test_config_show_and_diff(folder: Path) -> None:
    arguments = ("--recipes", str(folder), "--collection", "News 1932")
    short = invoke("config", "show", *arguments).stdout
    assert "strength = 0.5" in short and "gaps" not in short
    whole = invoke("config", "show", "--resolved", *arguments)
    assert 'name = "tape"' in whole.stdout and "slices = 24" in whole.stdout
    found = json.loads(invoke("config", "show", "--resolved", *arguments, "--json").stdout)
    assert found["sha256"] == load_recipe(folder / "tape.toml").digest
    pair = (str(folder / "base.toml"), str(folder / "tape.toml"))
    rows = json.loads(invoke("config", "diff", *pair, "--json").stdout)["differences"]
    assert {row["setting"]: (row["first"], row["second"]) for row in rows} == {
        "name": ("base", "tape"),
        "slices": (16, 24),
        "limits.max_frames": (9, 99),
    }
    assert "no setting differs" in invoke("config", "diff", "film", "film").stdout


# Budgets, embargo


def test_a_budget_is_spent_by_the_clock_times_the_devices() -> None:
    now = [datetime(2026, 1, 1, tzinfo=UTC)]
    clock: Callable[[], datetime] = lambda: now[0]  # noqa: E731
    stop = Stop(clock=clock, max_gpu_hours=4, max_cpu_hours=100)
    stop.begin(gpus=2, cpus=16)
    now[0] += timedelta(hours=1, minutes=59)
    assert stop.reason() is None
    now[0] += timedelta(minutes=1)
    assert stop.reason() is Reason.BUDGET_STOP
    with pytest.raises(ArchiveError, match="has no GPU"):
        Stop(max_gpu_hours=1).begin(gpus=0, cpus=8)


def test_an_embargoed_clip_is_held_without_a_fault(tmp_path: Path) -> None:
    rows = [
        Clip("free", "/f.mkv", embargo_until="2001-01-01"),
        Clip("held", "/h.mkv", embargo_until="2999-01-01"),
    ]
    out = str(tmp_path / "out")
    work = Run.open("m.csv", rows, out, RecipeBook(Recipe()), lambda event: None)
    assert [clip.clip_id for clip in work.todo] == ["free"]
    end(work, published(rows[0], work.settings))
    summary = work.close()
    assert (summary["exit_code"], summary["clips"]["held"]) == (0, 1)
    assert not Path(out, "quarantine").exists()
    assert work._ended["held"].reason is Reason.EMBARGOED


# CSV


def test_a_formula_arrives_inert_in_csv() -> None:
    rows = [{"a": "=cmd()", "b": -3, "c": " @x", "d": "plain", "e": None, "f": "\t=1", "g": "-"}]
    assert output.csv_lines(rows) == "a,b,c,d,e,f,g\n'=cmd(),-3,' @x,plain,,'\t=1,'-"
