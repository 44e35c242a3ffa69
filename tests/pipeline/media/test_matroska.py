"""Header fields of Matroska that libav's muxer has no option for."""

from __future__ import annotations

from fractions import Fraction

from pipeline.media.child.matroska import display_size


def test_display_size_is_exact() -> None:
    def ratio(width: int, height: int, sar: Fraction) -> tuple[Fraction, int]:
        content, unit = display_size(width, height, sar)
        shown = int.from_bytes(content[3:5], "big"), int.from_bytes(content[8:10], "big")
        return Fraction(*shown), unit

    assert ratio(720, 576, Fraction(16, 15)) == (Fraction(4, 3), 0)
    assert ratio(176, 144, Fraction(128, 117)) == (Fraction(176 * 128, 144 * 117), 3)
    got, _ = ratio(1919, 1079, Fraction(127, 113))
    assert abs(got / Fraction(1919 * 127, 1079 * 113) - 1) < 1e-8
