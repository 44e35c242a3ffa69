"""Decode a whole file, or return its fault."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pipeline.clip.frames import Frame
from pipeline.media.decoder import Decoder
from schemas.errors import ClipFault
from schemas.recipe import Limits

LIMITS = Limits()


def decode(path: Path, limits: Limits = LIMITS, **options: Any) -> list[Frame]:
    with Decoder(path, limits, **options) as decoder:
        return list(decoder)


def fault_of(path: Path, limits: Limits = LIMITS) -> ClipFault:
    with pytest.raises(ClipFault) as fault:
        decode(path, limits)
    assert path.name in fault.value.sentence
    return fault.value
