"""Planes of packed formats, compared with what libswscale makes of them."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.media.planes import RELAID, Component, Source, extract_planes, plane_layout
from tests.support.media.media_factory import to_frame


@pytest.mark.parametrize("name", sorted(RELAID))
def test_relaying_undoes_or_repeats_what_swscale_does(name: str) -> None:
    planar, components = RELAID[name]
    layout = plane_layout(planar, 34, 18)
    rng = np.random.default_rng(1)
    planes = [rng.integers(0, 1 << layout.bits, s).astype(layout.dtype) for s in layout.shapes]
    packed = to_frame(planes, planar).reformat(format=name)
    got = extract_planes(packed, Source(components, False, layout.shapes, layout.dtype))
    back = packed.reformat(format=planar)
    plain = tuple(Component(plane, 0, 1) for plane in range(3))
    wanted = extract_planes(back, Source(plain, False, layout.shapes, layout.dtype))
    for mine, theirs, sent in zip(got, wanted, planes, strict=True):
        # swscale errs on one side for a few formats (16-bit luma out, 10-bit chroma in)
        assert np.array_equal(mine, theirs) or np.array_equal(mine, sent)
