"""What commands print: JSON that every program reads, tables and durations for people."""

from fractions import Fraction

import pytest

from jobs.console import output


def test_json_has_no_numbers_that_json_does_not_know(capsys: pytest.CaptureFixture[str]) -> None:
    output.emit({"rows": [{"psnr": float("nan"), "at": Fraction(1, 3)}, (1, float("inf"))]})
    assert capsys.readouterr().out == '{"rows": [{"psnr": null, "at": "1/3"}, [1, null]]}\n'


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.4, "0 s"),
        (59.4, "59 s"),
        (59.6, "1 min 00 s"),
        (3599, "59 min 59 s"),
        (7500, "2 h 05 min"),
    ],
)
def test_clock(seconds: float, text: str) -> None:
    assert output.clock(seconds) == text


def test_tables_align_and_let_no_control_character_through() -> None:
    text = output.table([{"clip": "a\x1b[31m\n", "n": 1}, {"clip": "longer", "n": 1234.5678}])
    assert text.splitlines() == [
        "clip       n",
        "------  ----",
        "a [31m     1",
        "longer  1235",
    ]
    assert output.table([]) == "(no rows)"
