"""The measures that a clip's page draws frame by frame, in the groups that a reader opens."""

from __future__ import annotations

from dataclasses import dataclass

MEAN, HIGHEST, LOWEST, FIRST = "avg", "max", "min", "first"  # what stands for frames drawn as one


@dataclass(frozen=True)
class Curve:
    """A plot: its name, the unit of its values, and what it draws, by side."""

    measure: str  # its name in tables/frames, without the side, or in the rules of the verdict
    label: str
    unit: str
    columns: tuple[tuple[str, str], ...]  # side, and its column or SQL over tables/frames
    pick: str = MEAN
    dots: bool = False  # measured at single frames: nothing lies between them

    def names(self) -> dict[str, str]:
        """The name of each side's column in the query."""
        return {side: f"{self.measure}_{side}" for side, _ in self.columns}


def _both(measure: str, label: str, unit: str, pick: str = MEAN) -> Curve:
    sides = tuple((side, f"{measure}_{side}") for side in ("before", "after"))
    return Curve(measure, label, unit, sides, pick)


def _one(
    measure: str, label: str, unit: str, pick: str = MEAN, sql: str = "", dots: bool = False
) -> Curve:
    return Curve(measure, label, unit, (("after", sql or measure),), pick, dots)


SHOWN = "Brightness, noise, distance and change"
CURVES: dict[str, tuple[Curve, ...]] = {
    SHOWN: (
        _both("mean_luma", "Brightness", "code values", FIRST),  # a mean would hide the flicker
        _both("noise_sigma", "Noise", "code values"),
        _one("psnr_to_source_db", "PSNR to source", "dB", LOWEST),
        _one("largest_change", "Largest region changed", "share of frame", HIGHEST),
        _one("pixels_changed", "Pixels changed strongly", "share of frame", HIGHEST),
    ),
    "Detail, edges and texture": (
        _one("shared_detail_kept", "Detail kept that the frames beside it share", "1 is all",
             LOWEST),
        _one("detail_kept", "Detail kept in the worst part", "1 is all", LOWEST),
        _one("edges_kept", "Strength of edges kept", "1 is all", LOWEST),
        _one("new_edges", "Edges that the source has not", "share of edges", HIGHEST),
        _one("texture_added", "Texture or noise added in a part", "code values", HIGHEST),
        _one("blur_added", "Softness added", "0 to 1", HIGHEST, "blur_after - blur_before"),
        _one("noise_added", "Noise added", "code values", HIGHEST,
             "noise_sigma_after - noise_sigma_before"),
    ),
    "Motion and time": (
        _both("warping_error", "Difference from the frame before, along the motion",
              "code values"),
        _both("temporal_diff", "Difference from the frame before, in place", "code values"),
        _one("out_of_step", "Looks like another frame", "share of what moves", HIGHEST),
        _one("shard_seam", "Seam between parts restored apart", "code values", HIGHEST, dots=True),
    ),
    "Colour": (
        _one("colour_difference", "Difference of colour, mean", "delta E"),
        _one("colour_difference_p95", "Difference of colour, 95 % quantile", "delta E", HIGHEST),
        _one("chroma_shift", "Shift of colour in the worst part", "code values", HIGHEST),
        _both("saturation", "Distance from grey", "code values"),
    ),
    "Change that nothing explains, and seams": (
        _one("unsupported_change", "Change that nothing explains", "share of its energy", HIGHEST),
        _one("unsupported_worst", "The same in the worst part", "code values", HIGHEST),
        _one("seam", "Straight step of the change", "code values", HIGHEST),
        _one("psnr_outside_db", "PSNR to source beside the repairs", "dB", LOWEST),
        _one("ssim_to_source", "SSIM to source", "1 is the same", LOWEST),
    ),
    "Signal": (
        _both("temporal_outliers", "Pixels unlike those above and below", "share", HIGHEST),
        _both("repeated_lines", "Lines like the one 4 above", "share", HIGHEST),
        _both("out_of_range", "Pixels outside of the legal range", "share", HIGHEST),
        _both("y_low", "Dark end of brightness, a tenth lies below", "code values"),
        _both("y_high", "Bright end of brightness, a tenth lies above", "code values"),
        _both("blockiness", "Blocks", "1 is none"),
    ),
}  # fmt: skip
ALL = tuple(curve for group in CURVES.values() for curve in group)
