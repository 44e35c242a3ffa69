"""Write the aspect into an MXF header. For DNxHR, libav's muxer always writes square pixels.

The item (SMPTE ST 377-1, picture descriptor, local tag 320E: two 32-bit numbers) is overwritten in
place, so no other item moves.
"""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

ASPECT_ITEM = bytes.fromhex("320e0008")
HEADER_BYTES = 1 << 20


def patch_aspect(path: Path, display: Fraction) -> None:
    """Write the display aspect. Raises ValueError unless the header holds exactly one."""
    with path.open("r+b") as stream:
        header = stream.read(HEADER_BYTES).partition(b"\x06\x0e\x2b\x34\x01\x02\x01\x01")[0]
        if header.count(ASPECT_ITEM) != 1:
            raise ValueError(f"{header.count(ASPECT_ITEM)} aspects in the header of {path.name}")
        stream.seek(header.index(ASPECT_ITEM) + len(ASPECT_ITEM))
        for number in display.as_integer_ratio():
            stream.write(number.to_bytes(4, "big"))
