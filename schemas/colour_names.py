"""Names of the code points of ITU-T H.273 (2024-07), tables 2 to 4, and of the signal range."""

from typing import Literal

ColourKind = Literal["range", "primaries", "transfer", "matrix"]

_UNSPECIFIED = "unspecified"
_NAMES: dict[ColourKind, dict[int, str]] = {
    "range": {0: _UNSPECIFIED, 1: "limited", 2: "full"},
    "primaries": {
        1: "BT.709", 2: _UNSPECIFIED, 4: "BT.470 System M", 5: "BT.601 625 lines",
        6: "BT.601 525 lines", 7: "SMPTE ST 240", 8: "generic film", 9: "BT.2020",
        10: "SMPTE ST 428-1 (XYZ)", 11: "SMPTE RP 431-2 (DCI-P3)",
        12: "SMPTE EG 432-1 (Display P3)", 22: "EBU Tech 3213-E",
    },
    "transfer": {
        1: "BT.709", 2: _UNSPECIFIED, 4: "BT.470 System M (gamma 2.2)",
        5: "BT.470 System B, G (gamma 2.8)", 6: "BT.601", 7: "SMPTE ST 240", 8: "linear",
        9: "logarithmic, 100 to 1", 10: "logarithmic, 316 to 1", 11: "IEC 61966-2-4 (xvYCC)",
        12: "BT.1361", 13: "IEC 61966-2-1 (sRGB)", 14: "BT.2020, 10 bits", 15: "BT.2020, 12 bits",
        16: "SMPTE ST 2084 (PQ)", 17: "SMPTE ST 428-1", 18: "ARIB STD-B67 (HLG)",
    },
    "matrix": {
        0: "identity (RGB)", 1: "BT.709", 2: _UNSPECIFIED, 4: "FCC", 5: "BT.601 625 lines",
        6: "BT.601 525 lines", 7: "SMPTE ST 240", 8: "YCgCo",
        9: "BT.2020 non-constant luminance", 10: "BT.2020 constant luminance",
        11: "SMPTE ST 2085", 12: "derived from primaries, non-constant luminance",
        13: "derived from primaries, constant luminance", 14: "ICtCp", 15: "IPT-C2",
        16: "YCgCo-Re", 17: "YCgCo-Ro",
    },
}  # fmt: skip


def colour_name(kind: ColourKind, code: int | str) -> str:
    """Return the name of a code point with its number, such as `BT.709 (1)`."""
    number = int(code)
    name = _NAMES[kind].get(number, "reserved")
    return name if name == _UNSPECIFIED or kind == "range" else f"{name} ({number})"
