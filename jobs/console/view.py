"""A view of `query`: its meaning, its SQL, and the columns that no table has."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from schemas.columns import INTEGER, REAL, TEXT, Column


@dataclass(frozen=True)
class View:
    """A view. With `parameters` it is called like a function, and each one has a default."""

    meaning: str
    sql: str
    parameters: str = ""
    columns: Mapping[str, Column] = field(default_factory=dict)  # those that no table has


def count(meaning: str, unit: str = "clips") -> Column:
    """A column of whole numbers."""
    return Column(INTEGER, meaning, unit)


def number(meaning: str, unit: str = "") -> Column:
    """A column of numbers."""
    return Column(REAL, meaning, unit)


def word(meaning: str) -> Column:
    """A column of text."""
    return Column(TEXT, meaning)


GAIN = number("Improvement of the PSNR, measured with a clean reference.", "dB")
