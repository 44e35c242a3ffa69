"""Promises of the documents: reason codes, exit codes, and the files that texts name."""

import ast
import io
import re
import signal
import tokenize
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from schemas.exit_codes import ExitCode
from schemas.reasons import REASONS, Reason

ROOT = Path(__file__).resolve().parents[2]
PRODUCT = ("pipeline", "jobs", "models")


def product_trees() -> list[ast.Module]:
    paths = [path for name in PRODUCT for path in sorted((ROOT / name).rglob("*.py"))]
    return [ast.parse(path.read_text(encoding="utf-8")) for path in paths]


# Which members of an enum does the code produce?


def produced_names(tree: ast.AST, enum: str) -> set[str]:
    """Return the members of an enum that the code produces.

    Members that the code only compares, looks up or matches are not in the result.
    """
    return set(_members(tree, enum))


def _members(node: ast.AST, enum: str) -> Iterator[str]:
    if isinstance(node, ast.Compare | ast.MatchValue):
        return
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
        if node.value.id == enum:
            yield node.attr
        return
    for child in _fed(node, enum):
        yield from _members(child, enum)


def _fed(node: ast.AST, enum: str) -> Iterable[ast.AST]:
    """Return the children whose values the node passes on."""
    if isinstance(node, ast.Subscript):
        return [node.value]
    if isinstance(node, ast.Dict):  # its keys are looked up
        return node.values
    if isinstance(node, ast.Tuple | ast.List | ast.Set):  # members only: a list to test against
        members = [e for e in node.elts if isinstance(e, ast.Attribute)]
        if node.elts and len(members) == len(node.elts):
            return []
    return ast.iter_child_nodes(node)


def produced_reasons(trees: Iterable[ast.AST]) -> set[str]:
    return set().union(*(produced_names(tree, "Reason") for tree in trees))


def broken_reason_promises(produced: set[str], reserved: dict[str, bool]) -> list[str]:
    """Return the codes that are neither produced nor reserved, or both."""
    return [name for name, held_back in reserved.items() if held_back == (name in produced)]


def test_every_reason_is_produced_or_reserved() -> None:
    reserved = {reason.name: info.reserved for reason, info in REASONS.items()}
    assert broken_reason_promises(produced_reasons(product_trees()), reserved) == []
    assert list(REASONS) == list(Reason)


@pytest.mark.parametrize(
    ("code", "produced"),
    [
        ("raise ClipFault(Reason.MADE_UP, 'x')", True),
        ("CODES = {'503': Reason.MADE_UP}", True),
        ("PATTERNS = ((MESSAGES, Reason.MADE_UP),)", True),
        ("return_ = Reason.MADE_UP", True),
        ("if reason == Reason.MADE_UP: pass", False),
        ("if reason in (Reason.MADE_UP, Reason.OTHER): pass", False),
        ("SKIPPED = (Reason.MADE_UP, Reason.OTHER)", False),
        ("CODES = {Reason.MADE_UP: 5}", False),
        ("step = REASONS[Reason.MADE_UP].next_step", False),
        ("'''Raises ClipFault(Reason.MADE_UP)'''", False),
    ],
)
def test_a_made_up_reason_is_found_out(code: str, produced: bool) -> None:
    found = produced_reasons([ast.parse(code)])
    assert ("MADE_UP" in found) is produced
    assert broken_reason_promises(found, {"MADE_UP": False}) == ([] if produced else ["MADE_UP"])
    assert broken_reason_promises(found, {"MADE_UP": True}) == (["MADE_UP"] if produced else [])


# Which exit codes does the code produce?


def produced_codes(tree: ast.AST) -> set[int]:
    """Return the exit codes that the code produces, as members of ExitCode or as numbers."""
    found = {int(ExitCode[name]) for name in produced_names(tree, "ExitCode")}
    for node in ast.walk(tree):
        for value in _exit_values(node):
            found |= set(_numbers(value))
    return found


def _exit_values(node: ast.AST) -> Iterator[ast.AST]:
    """Yield the expressions of a node that become an exit code."""
    if isinstance(node, ast.Call):
        yield from (word.value for word in node.keywords if word.arg == "exit_code")
        if ast.unparse(node.func) in ("typer.Exit", "SystemExit", "sys.exit"):
            yield from node.args
    if isinstance(node, ast.Dict):
        for key, value in zip(node.keys, node.values, strict=True):
            if isinstance(key, ast.Constant) and key.value == "exit_code":
                yield value
            if key is not None and ast.unparse(key).startswith("Reason."):
                yield value
    if isinstance(node, ast.Assign) and re.search("EXIT|^code$", ast.unparse(node.targets[0])):
        yield node.value
    if isinstance(node, ast.FunctionDef) and "exit_code" in node.name:
        yield from (n.value for n in ast.walk(node) if isinstance(n, ast.Return) and n.value)


def _numbers(value: ast.AST) -> Iterator[int]:
    """Yield the numbers that an expression can be; the test of a condition is none of them."""
    if isinstance(value, ast.Constant) and type(value.value) is int:
        yield value.value
    elif isinstance(value, ast.IfExp):
        yield from (*_numbers(value.body), *_numbers(value.orelse))
    elif isinstance(value, ast.BoolOp):
        for part in value.values:
            yield from _numbers(part)
    elif isinstance(value, ast.BinOp):  # 128 + signal.SIGTERM
        name = ast.unparse(value).removeprefix("128 + signal.")
        if name in signal.Signals.__members__:
            yield 128 + signal.Signals[name]


def test_every_exit_code_is_produced_or_reserved() -> None:
    trees = [*product_trees(), ast.parse((ROOT / "schemas/errors.py").read_text("utf-8"))]
    produced = set().union(*map(produced_codes, trees))
    assert sorted(produced) == [int(code) for code in ExitCode if not code.reserved]


@pytest.mark.parametrize(
    ("code", "produced"),
    [
        ("raise ArchiveError('x', exit_code=77)", {77}),
        ("raise typer.Exit(77 if faults else 78)", {77, 78}),
        ("summary = {'exit_code': stopped or (77 if faults else 0)}", {77, 0}),
        ("EXIT_CODES = {Reason.CANCELLED: 77}", {77}),
        ("FAULTS_EXIT = 77", {77}),
        ("def _exit_code(x):\n    return 77", {77}),
        ("raise typer.Exit(128 + signal.SIGINT)", {130}),
        ("raise typer.Exit(ExitCode.REVIEW)", {4}),
        ("if code in (77, 78) or code == ExitCode.REVIEW: pass", set()),
        ("GOOD = (ExitCode.DONE, ExitCode.REVIEW)", set()),
        ("retries = 77", set()),
    ],
)
def test_a_made_up_exit_code_is_found_out(code: str, produced: set[int]) -> None:
    assert produced_codes(ast.parse(code)) == produced


# Do the files and modules exist that texts name?

PACKAGES = "pipeline|models|jobs|schemas"
FILE = re.compile(rf"(?<![\w/.-])(?:{PACKAGES})/[\w/-]+\.py\b")
MODULE = re.compile(rf"(?<![\w/.-])(?:{PACKAGES})(?:\.[A-Za-z]\w*)+(?![\w(/-]*\.(?:py|toml))")
DATED = ("docs/experiments", "docs/benchmarks")  # these describe the tree of their day


def missing_names(text: str) -> list[str]:
    """Return the files and modules of the product that a text names and that do not exist."""
    files = [name for name in FILE.findall(text) if not (ROOT / name).is_file()]
    return files + [name for name in MODULE.findall(text) if not _exists(name)]


def _exists(dotted: str) -> bool:
    """Return True for a folder, a module, or a name that the module defines or imports."""
    parts = dotted.split(".")
    for count in range(len(parts), 1, -1):
        path = ROOT.joinpath(*parts[:count])
        if path.is_dir():
            return count == len(parts)
        if path.with_suffix(".py").is_file():
            source = path.with_suffix(".py").read_text(encoding="utf-8")
            return count == len(parts) or bool(re.search(rf"\b{parts[count]}\b", source))
    return False


def _prose(path: Path) -> str:
    """Return the text of a document, or the comments and docstrings of a module."""
    text = path.read_text(encoding="utf-8")
    if path.suffix != ".py":
        return text
    documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
    nodes = [node for node in ast.walk(ast.parse(text)) if isinstance(node, documented)]
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    comments = [token.string for token in tokens if token.type == tokenize.COMMENT]
    return "\n".join([*(ast.get_docstring(node) or "" for node in nodes), *comments])


def _texts() -> list[Path]:
    folders = (*PRODUCT, "schemas", "tests")
    code = [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]
    pages = sorted((ROOT / "docs").rglob("*.md"))
    dated = tuple(str(ROOT / name) for name in DATED)
    pages = [path for path in pages if not str(path).startswith(dated)]
    return [*code, *pages, ROOT / "README.md", ROOT / "CONTRIBUTING.md"]


def test_texts_name_only_files_and_modules_that_exist() -> None:
    missing = {str(path.relative_to(ROOT)): missing_names(_prose(path)) for path in _texts()}
    assert {path: names for path, names in missing.items() if names} == {}


@pytest.mark.parametrize(
    ("text", "missing"),
    [
        ("see `pipeline/" + "gone.py`", ["pipeline/" + "gone.py"]),
        ("see `pipeline." + "gone` and pipeline.flow", ["pipeline." + "gone"]),
        ("see `pipeline.flow." + "no_such_name`", ["pipeline.flow." + "no_such_name"]),
        ("`pipeline/flow.py`, `schemas.tables.check`, `pipeline.store`, models.", []),
    ],
)
def test_a_made_up_name_is_found_out(text: str, missing: list[str]) -> None:
    assert missing_names(text) == missing
