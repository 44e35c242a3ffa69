"""JSON records of the ledger, and the names that may stand in its paths."""

import json
import math
import re
from collections.abc import Mapping
from typing import cast

Record = dict[str, object]

_SAFE_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}")


def safe(name: str) -> str:
    """The name, if it is one harmless part of a path. Raises ValueError for any other."""
    if not _SAFE_NAME.fullmatch(name):
        raise ValueError(f"{name!r} is not made of letters, digits, `.`, `_` and `-`")
    return name


def dump(record: Mapping[str, object]) -> bytes:
    """The record as JSON with sorted keys. numpy scalars are numbers; NaN and infinity are null."""
    return json.dumps(_plain(record), sort_keys=True, allow_nan=False).encode()


def load(data: bytes) -> Record:
    """The inverse of `dump`."""
    return cast(Record, json.loads(data))


def _plain(value: object) -> object:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if callable(scalar := getattr(value, "item", None)):
        value = scalar()
    return None if isinstance(value, float) and not math.isfinite(value) else value
