"""The map in docs/architecture.md is complete and true, and no folder is too full."""

import ast
import importlib
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.paths import ROOT

SOURCE = ("pipeline", "models", "jobs", "schemas")
WALK = tuple(
    f"pipeline/{name}.py"
    for name in ("flow", "stages", "survey", "restore", "prefetch", "assemble")
)
MOST_MODULES = 17  # of a folder, without __init__.py
# Experiments keep the names that a module had at their commit.
PAGES = sorted(
    page.relative_to(ROOT).as_posix()
    for pattern in ("*.md", "docs/*.md", "docs/decisions/*.md", "docs/benchmarks/*.md")
    for page in ROOT.glob(pattern)
)
SCRIPTS = sorted(path.relative_to(ROOT).as_posix() for path in ROOT.glob("docs/**/*.py"))
MAKE = (ROOT / "Makefile").read_text(encoding="utf-8")
ARCHITECTURE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")

PATH = re.compile(r"`((?:pipeline|models|jobs|schemas|tests|docs)/[\w./-]*)`")
ROW = re.compile(r"^\| `([\w/]+/)` \| .* \| (.*) \|$", re.MULTILINE)


def modules(folder: Path) -> list[Path]:
    return [path for path in folder.glob("*.py") if path.name != "__init__.py"]


def folders(*tops: str) -> Iterator[Path]:
    """Every folder with modules below the given ones, themselves included."""
    for top in tops:
        for folder in [ROOT / top, *(path for path in (ROOT / top).rglob("*") if path.is_dir())]:
            if modules(folder):
                yield folder


def named(folder: Path) -> str:
    return f"{folder.relative_to(ROOT).as_posix()}/"


def faults_of_map(text: str) -> list[str]:
    """What the map lacks, and what it names that is not there."""
    rows = dict(ROW.findall(text))
    mapped = [*folders(*SOURCE), ROOT / "tests", ROOT / "tests" / "support"]
    faults = [f"{named(folder)} is missing" for folder in mapped if named(folder) not in rows]
    faults += [f"{path} is missing from the walk" for path in WALK if f"**`{path}`**" not in text]
    for folder, start in rows.items():
        for name in re.findall(r"`(\w+)`", start):
            if not (ROOT / folder / f"{name}.py").exists():
                faults.append(f"{folder}{name}.py does not exist")
    return faults


def missing_paths(text: str) -> list[str]:
    return [path for path in PATH.findall(text) if not (ROOT / path).exists()]


def test_the_map_names_every_folder_and_every_file_of_the_walk() -> None:
    assert faults_of_map(ARCHITECTURE) == []


def test_what_the_map_lacks_is_found() -> None:
    broken = (
        ARCHITECTURE.replace("| `pipeline/store/` |", "| the store |")
        .replace("**`pipeline/restore.py`**", "**restore**")
        .replace("`ledger`", "`legder`")
    )
    assert faults_of_map(broken) == [
        "pipeline/store/ is missing",
        "pipeline/restore.py is missing from the walk",
        "pipeline/runs/legder.py does not exist",
    ]


@pytest.mark.parametrize("page", PAGES)
def test_paths_in_the_pages_exist(page: str) -> None:
    assert missing_paths((ROOT / page).read_text(encoding="utf-8")) == []


def test_a_path_that_does_not_exist_is_found() -> None:
    assert missing_paths("in `pipeline/shots.py` and `pipeline/flow.py`") == ["pipeline/shots.py"]


def test_what_make_runs_exists() -> None:
    names = re.findall(r"(?<=\s)(tests/[\w/]+(?:\.py)?|jobs(?:\.\w+)+|tests(?:\.\w+)+)", MAKE)
    assert len(names) > 10
    places = [ROOT / (name if "/" in name else f"{name.replace('.', '/')}.py") for name in names]
    assert [str(place) for place in places if not place.exists()] == []


def test_no_folder_holds_too_many_modules() -> None:
    counts = {named(folder): len(modules(folder)) for folder in folders(*SOURCE, "tests")}
    assert {name: count for name, count in counts.items() if count > MOST_MODULES} == {}


def test_folders_of_tests_mirror_the_source() -> None:
    names = {named(folder) for folder in folders("tests")} - {"tests/"}
    for name in {name for name in names if not name.startswith("tests/support/")}:
        assert (ROOT / name.removeprefix("tests/")).is_dir(), f"{name} mirrors no folder"


@pytest.mark.parametrize("script", SCRIPTS)
def test_scripts_of_the_documents_import_what_exists(script: str) -> None:
    tree = ast.parse((ROOT / script).read_text(encoding="utf-8"))
    ours = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    ours = [node for node in ours if (node.module or "").partition(".")[0] in SOURCE]
    missing = [
        f"{node.module}.{alias.name}"
        for node in ours
        for alias in node.names
        if not hasattr(importlib.import_module(node.module or ""), alias.name)
    ]
    assert ours
    assert missing == []


def test_a_survey_and_the_stages_load_no_pytorch() -> None:
    """It takes seconds and 200 MiB, which only a worker with a model should pay."""
    code = "import pipeline.survey, pipeline.stages, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, timeout=200).returncode == 0
