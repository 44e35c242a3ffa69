"""Planes to RGB and back: no change in, no change out, for every family, depth and range."""

from itertools import product

import numpy as np
import pytest
import torch

from models import colour_tensors
from models.colour import PixelFormat
from models.frame_state import Decoded, FrameState

Size = tuple[int, int]

RNG = np.random.default_rng(0)
CASES = [
    ("yuv420p", 8, 6, 1, (48, 64), (24, 32)),
    ("yuv420p", 8, 2, 0, (47, 63), (24, 32)),
    ("yuv422p10le", 10, 5, 1, (48, 64), (48, 32)),
    ("yuv444p12le", 12, 9, 2, (48, 64), (48, 64)),
    ("gbrp", 8, 0, 2, (48, 64), (48, 64)),
    ("gbrp16le", 16, 0, 2, (48, 64), (48, 64)),
    ("gray", 8, 2, 0, (48, 64), None),
    ("gray16le", 16, 2, 0, (48, 64), None),
]


def planes_of(
    depth: int, luma: tuple[int, int], chroma: tuple[int, int] | None
) -> tuple[np.ndarray, ...]:
    kind = np.uint8 if depth == 8 else np.uint16
    shapes = [luma] if chroma is None else [luma, chroma, chroma]
    return tuple(RNG.integers(0, 1 << depth, shape, dtype=kind) for shape in shapes)


@pytest.mark.parametrize(("name", "depth", "matrix", "range_", "luma", "chroma"), CASES)
def test_no_change_keeps_every_code_value(
    name: str, depth: int, matrix: int, range_: int, luma: Size, chroma: Size | None
) -> None:
    form = PixelFormat.of(name, depth, matrix, range_, luma[0])
    planes = planes_of(depth, luma, chroma)
    image = form.to_rgb(planes)
    assert image.shape == (*luma, 3) and image.dtype == np.float32
    for kept, source in zip(form.apply(planes, image, image), planes, strict=True):
        assert np.array_equal(kept, source) and kept.dtype == source.dtype


@pytest.mark.parametrize(("name", "depth", "matrix", "range_", "luma", "chroma"), CASES)
def test_strength_zero_keeps_every_code_value(
    name: str, depth: int, matrix: int, range_: int, luma: Size, chroma: Size | None
) -> None:
    form = PixelFormat.of(name, depth, matrix, range_, luma[0])
    planes = planes_of(depth, luma, chroma)
    image = form.to_rgb(planes)
    for kept, source in zip(
        form.apply(planes, image, image * 0.5, strength=0.0), planes, strict=True
    ):
        assert np.array_equal(kept, source)


def test_known_colours() -> None:
    """100 % BT.601 bars in limited range (BT.601, table of colour bars)."""
    form = PixelFormat.of("yuv444p", 8, 6, 1, 576)
    bars = {
        (235, 128, 128): (1, 1, 1),
        (82, 90, 240): (1, 0, 0),
        (145, 54, 34): (0, 1, 0),
        (41, 240, 110): (0, 0, 1),
    }
    for code, rgb in bars.items():
        planes = tuple(np.full((2, 2), value, np.uint8) for value in code)
        assert form.to_rgb(planes)[0, 0] == pytest.approx(rgb, abs=0.012)


def test_grey_of_limited_range_has_no_colour() -> None:
    form = PixelFormat.of("gbrp", 8, 0, 1, 576)
    for code, level in ((16, 0), (235, 1)):
        planes = (np.full((2, 2), code, np.uint8),) * 3
        assert form.to_rgb(planes)[0, 0] == pytest.approx((level,) * 3, abs=1e-6)


def test_a_change_lands_in_the_right_planes() -> None:
    form = PixelFormat.of("yuv420p", 8, 1, 1, 1080)
    planes = tuple(np.full(shape, 128, np.uint8) for shape in ((16, 16), (8, 8), (8, 8)))
    before = form.to_rgb(planes)
    brighter = form.apply(planes, before, before + np.float32(0.1))
    assert (
        np.all(brighter[0] == 128 + 22)
        and np.all(brighter[1] == 128)
        and np.all(brighter[2] == 128)
    )
    bluer = before.copy()
    bluer[..., 2] += 0.2
    assert np.all(form.apply(planes, before, bluer)[1] > 140)
    assert np.all(form.apply(planes, before, bluer, monochrome=True)[1] == 128)


def test_values_stay_in_range_and_depth() -> None:
    form = PixelFormat.of("yuv422p10le", 10, 5, 1, 576)
    planes = planes_of(10, (8, 8), (8, 4))
    image = form.to_rgb(planes)
    moved = form.apply(planes, image, image + 2)
    assert max(int(plane.max()) for plane in moved) <= 1023


def test_an_untagged_matrix_follows_the_size() -> None:
    assert PixelFormat.of("yuv420p", 8, 2, 0, 576).kr == 0.299
    assert PixelFormat.of("yuv420p", 8, 2, 0, 1080).kr == 0.2126


@pytest.mark.parametrize(
    ("pix_fmt", "color_range"),
    [
        *product(("yuv420p", "yuv422p10le", "yuv444p", "gray", "gray10le"), (1, 2)),
        *product(("gbrp",), (1, 2)),
    ],
)
def test_the_quick_way_to_rgb_gives_the_same_picture(pix_fmt: str, color_range: int) -> None:
    depth = 10 if "10" in pix_fmt else 8
    rng = np.random.default_rng(0)
    across, down = {"yuv420p": (2, 2), "yuv422p10le": (2, 1)}.get(pix_fmt, (1, 1))
    kind = np.uint16 if depth > 8 else np.uint8
    sizes = [(16, 24)] if "gray" in pix_fmt else [(16, 24)] + 2 * [(16 // down, 24 // across)]
    planes = tuple(rng.integers(0, 1 << depth, size).astype(kind) for size in sizes)
    form = PixelFormat.of(pix_fmt, depth, 1, color_range, 16)
    exact = np.clip(np.rint(form.to_rgb(planes) * 255), 0, 255)
    assert np.abs(form.to_rgb8(planes) - exact).max() <= 2


@pytest.mark.parametrize("monochrome", [False, True])
@pytest.mark.parametrize(("name", "depth", "matrix", "range_", "luma", "chroma"), CASES)
def test_tensors_convert_alike(
    name: str, depth: int, matrix: int, range_: int, luma: Size, chroma: Size, monochrome: bool
) -> None:
    form, cpu = PixelFormat.of(name, depth, matrix, range_, luma[0]), torch.device("cpu")
    planes = planes_of(depth, luma, chroma)
    for plane in planes:
        plane.flags.writeable = False  # as a decoder gives it
    decoded = Decoded(planes, form, strength=0.7, monochrome=monochrome)
    image = colour_tensors.picture(decoded, cpu)()
    assert np.abs(image.permute(1, 2, 0).numpy() - decoded.image).max() < 1e-5
    same = colour_tensors.with_planes(
        FrameState.of_planes(0, decoded), decoded, colour_tensors.to_land(decoded, image)
    )
    assert same.planes is not None and same.finite
    for kept, source in zip(same.planes, planes, strict=True):
        assert np.array_equal(kept, source) and kept.dtype == source.dtype
    other = decoded.image + RNG.normal(0, 0.2, decoded.image.shape).astype(np.float32)
    moved = torch.from_numpy(other).permute(2, 0, 1)
    found = colour_tensors.with_planes(same, decoded, colour_tensors.to_land(decoded, moved))
    assert found.planes is not None
    for ours, theirs in zip(decoded.applied(other), found.planes, strict=True):
        apart = np.abs(ours.astype(np.int64) - theirs)
        assert apart.max() <= 1 and (apart > 0).mean() < 0.01 and ours.dtype == theirs.dtype
    moved[1, 3, 3] = np.nan
    broken = colour_tensors.with_planes(same, decoded, colour_tensors.to_land(decoded, moved))
    assert not broken.finite
