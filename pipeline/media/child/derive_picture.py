"""Convert pictures of the master for a derived file: fields, samples, levels."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import Any, cast

import av
import av.filter
import numpy as np

from pipeline.clip.frames import Probe
from pipeline.media.planes import Overlay, chroma_steps
from pipeline.media.profiles import Form, frames_of, is_full, matrix_for

# Names of H.273 matrices in libswscale.
MATRICES = {1: "bt709", 5: "bt470bg", 6: "smpte170m", 9: "bt2020"}


def conversions(probe: Probe, form: Form, order: str) -> Iterator[tuple[str, str]]:
    """What changes in the pictures, as (kind, sentence)."""
    if frames_of(form, order) == 2:
        yield "scan", "each field became a frame"
    levels = ", full range became limited" if is_full(probe) else ""
    if levels or probe.pix_fmt != form.pix_fmt:
        yield "samples", f"{probe.pix_fmt} became {form.pix_fmt}{levels}"


def picture_filters(probe: Probe, form: Form, order: str) -> av.filter.Graph | None:
    """The filters, on a clock of 1 ms. None if nothing changes."""
    kinds = [kind for kind, _ in conversions(probe, form, order)]
    links = [("setfield", order)] if order != "progressive" else []
    if "scan" in kinds:
        links.append(("bwdif", "mode=send_field"))
    if "samples" in kinds:
        fields = order != "progressive" and "scan" not in kinds
        links += [("scale", _scale(probe, fields)), ("format", f"pix_fmts={form.pix_fmt}")]
    if not links:
        return None
    graph = av.filter.Graph()
    shape, clock = av.VideoFormat(probe.source_pix_fmt), Fraction(1, 1000)
    source = graph.add_buffer(width=probe.width, height=probe.height, format=shape, time_base=clock)
    nodes = [graph.add(name, arguments) for name, arguments in links]
    graph.link_nodes(source, *nodes, graph.add("buffersink")).configure()
    return graph


def _scale(probe: Probe, fields: bool) -> str:
    full, matrix = is_full(probe), matrix_for(probe)
    # libswscale reads all gray as full range, so limited gray is passed through as full.
    limited_gray = not full and probe.pix_fmt.startswith("gray")
    options = {
        "in_range": "full" if full or limited_gray else "limited",
        "out_range": "full" if limited_gray else "limited",
        "interl": str(int(fields)),
        "flags": "bicubic+accurate_rnd+full_chroma_int+full_chroma_inp",
    }
    if matrix in MATRICES:
        options["out_color_matrix"] = MATRICES[matrix]
        if not probe.pix_fmt.startswith("gbr"):
            options["in_color_matrix"] = MATRICES[matrix]
    return ":".join(f"{name}={value}" for name, value in options.items())


def labelled(picture: av.VideoFrame, label: Overlay) -> None:
    """Draw a label into a picture of 8 bits in limited range."""
    for number, plane in enumerate(picture.planes):
        rows = np.frombuffer(cast(Any, plane), np.uint8).reshape(-1, plane.line_size).copy()
        steps = chroma_steps(picture.format.name) if number else (1, 1)
        plane.update(label.over(rows, chroma=number > 0, steps=steps).tobytes())
