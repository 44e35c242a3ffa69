"""Films that show a change: what they show is exact, and restricted clips are not shown."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipeline.clip.frames import Planes, Probe
from pipeline.media.decoder import Decoder
from pipeline.media.planes import plane_layout
from pipeline.proof.record import read_record, sealed
from pipeline.runs.settings import Settings
from pipeline.store import storage
from pipeline.undo.compare import difference, split
from schemas.recipe import Limits
from tests.support.command_line import invoke
from tests.support.media.probes import PROBE


def probe(pix_fmt: str) -> Probe:
    depth = plane_layout(pix_fmt, 2, 2).bits
    return replace(PROBE, pix_fmt=pix_fmt, bit_depth=depth, width=40, height=20)


def filled(pix_fmt: str, value: int) -> Planes:
    layout = plane_layout(pix_fmt, 40, 20)
    return tuple(np.full(shape, value, layout.dtype) for shape in layout.shapes)


@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv422p10le", "yuv411p", "gray", "gbrp"])
@pytest.mark.parametrize(("share", "edge"), [(0.5, 20), (0.0, 0), (1.0, 40), (0.31, 12)])
def test_the_source_is_left_of_the_line(pix_fmt: str, share: float, edge: int) -> None:
    found = split(filled(pix_fmt, 50), filled(pix_fmt, 90), probe(pix_fmt), share)
    luma = found[0][0].tolist()
    wide = luma.count(luma[edge]) if 0 < edge < 40 else 0
    assert wide in (0, 2, 4, 8)
    assert luma[: edge - wide // 2] == [50] * (edge - wide // 2)
    assert luma[edge + wide // 2 :] == [90] * (40 - edge - wide // 2)
    for plane in found[1:]:
        scale = 40 // plane.shape[1]
        assert plane[0, 0] == (50 if edge else 90)
        assert set(plane[0, (edge + wide // 2) // scale :].tolist()) <= {90}


@pytest.mark.parametrize(("pix_fmt", "middle"), [("yuv420p", 128), ("yuv422p10le", 512)])
def test_a_difference_is_grey_plus_the_change(pix_fmt: str, middle: int) -> None:
    found = difference(filled(pix_fmt, 50), filled(pix_fmt, 47), probe(pix_fmt), 5)
    assert {int(value) for plane in found for value in plane.ravel()} == {middle - 15}
    black = difference(filled(pix_fmt, 255), filled(pix_fmt, 0), probe(pix_fmt), 64)
    assert {int(value) for plane in black for value in plane.ravel()} == {0}


def test_a_film_of_a_part_is_exact(reel: tuple[Path, Settings], out: str, tmp_path: Path) -> None:
    film = tmp_path / "film.mkv"
    asked = ("compare", "reel", "--out", out, "--to", str(film), "--frames", "2:4")
    told = invoke(*asked, "--kind", "difference", "--factor", "9")
    assert told.exit_code == 0, told.output
    assert told.stdout == f"{film}: difference of 3 frames, shown 9 times as strong\n"
    with Decoder(film, Limits()) as decoder:
        found = [frame.planes for frame in decoder]
        assert decoder.probe.sar == 1
    assert len(found) == 3
    assert (found[0][0][:20] == 128 - 9).all()  # below are the words
    assert (found[0][1] == 128).all()
    assert "exists: give another name" in invoke(*asked).output


def test_a_restricted_clip_is_shown_only_if_asked(out: str, tmp_path: Path) -> None:
    master = f"{out}/clips/reel/reel_rst.mkv"
    record = read_record(master)
    record.pop("record_sha256")
    record["row"]["access_class"] = "restricted"
    storage.write_bytes(f"{master}.json", sealed(record))
    film = tmp_path / "film.mp4"
    asked = ("compare", "reel", "--out", out, "--to", str(film), "--kind", "wipe")
    told = invoke(*asked)
    assert (told.exit_code, film.exists()) == (2, False)
    assert "only with --restricted" in told.output
    told = invoke(*asked, "--restricted", "--json")
    assert json.loads(told.stdout)["frames"] == 6
    with Decoder(film, Limits()) as decoder:
        assert sum(1 for _ in decoder) == 6
        assert (decoder.probe.codec, decoder.probe.audio) == ("h264", ("aac",))


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        (["--to", "film.avi"], "ends in .mkv or .mp4"),
        (["--to", "no/film.mkv"], "the folder does not exist"),
        (["--to", "film.mkv", "--kind", "slide"], "one of split, wipe, difference"),
        (["--to", "film.mkv", "--frames", "3:9"], "its last frame is 5"),
    ],
)  # fmt: skip
def test_bad_requests_are_refused(out: str, more: list[str], sentence: str) -> None:
    told = invoke("compare", "reel", "--out", out, *more)
    assert told.exit_code == 2
    assert sentence in told.output
