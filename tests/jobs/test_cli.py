"""The command line: every command is documented, takes --json and has an example that works."""

import shlex

import pytest

from jobs.pages.docs import commands
from tests.support.command_line import invoke

COMMANDS = commands()


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_says_what_it_does_in_one_sentence(name: str) -> None:
    first = COMMANDS[name].help.splitlines()[0]
    assert first.endswith(".")
    assert len(first) <= 60, "the list of commands would cut it off"


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_an_example_that_it_accepts(name: str) -> None:
    _, _, text = COMMANDS[name].help.partition("Example:")
    words, path = shlex.split(text), ["archive-restore", *name.split()]
    assert words[: len(path)] == path
    COMMANDS[name].make_context(name, words[len(path) :])  # raises for what is no option of it


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_speaks_json(name: str) -> None:
    assert any("--json" in parameter.opts for parameter in COMMANDS[name].params)


def test_a_command_line_that_makes_no_sense_ends_with_2() -> None:
    assert invoke("submit").exit_code == 2
    assert invoke("restore-everything").exit_code == 2


def test_version() -> None:
    assert invoke("--version").stdout == "archive-restore 0.1.0\n"
