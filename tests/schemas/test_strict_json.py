"""JSON that every parser reads: no NaN, no Infinity."""

import json
import math

import numpy as np
import pytest

from pipeline.proof.record import sealed, unsealed
from schemas import strict_json

ODD = {
    "a": math.nan,
    "b": [math.inf, 1.5, {"c": -math.inf}],
    "d": np.float64("nan"),
    1: np.int64(3),
}
PLAIN = {"a": None, "b": [None, 1.5, {"c": None}], "d": None, "1": 3}


def refused(text: str) -> None:
    raise AssertionError(f"{text} is no JSON")


def test_numbers_that_are_not_finite_become_null() -> None:
    assert json.loads(strict_json.dumps(ODD), parse_constant=refused) == PLAIN
    with pytest.raises(AssertionError, match="NaN is no JSON"):
        json.loads(json.dumps(ODD["a"]), parse_constant=refused)


def test_a_record_holds_no_bare_nan() -> None:
    data = sealed({"row": {"blur_before": math.nan, "frames": 3}})
    assert json.loads(data, parse_constant=refused)["row"] == {"blur_before": None, "frames": 3}
    assert unsealed(data)["row"]["blur_before"] is None
