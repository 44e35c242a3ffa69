"""JSON as RFC 8259 has it: numbers that are not finite become null."""

import json
import math
from collections.abc import Mapping
from typing import Any


def dumps(value: object, **options: Any) -> str:  # noqa: ANN401 (options of json.dumps)
    """Return JSON without NaN and Infinity. NumPy scalars become numbers."""
    return json.dumps(_finite(value), allow_nan=False, **options)


def _finite(value: object) -> object:
    if isinstance(value, Mapping):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    if callable(scalar := getattr(value, "item", None)):
        value = scalar()
    return None if isinstance(value, float) and not math.isfinite(value) else value
