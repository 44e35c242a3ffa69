"""Frames and lines without a picture stay unchanged: leader, bars, slates, blanking, data."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from pipeline.clip.blanking import Blanking
from pipeline.clip.box import Box, put_back
from pipeline.clip.fields import field_of, woven
from pipeline.detect.blanking import BlankingMeter
from pipeline.detect.leader_and_bars import LeaderMeter
from pipeline.detect.leader_and_bars import NonPicture as Left
from pipeline.media.decoder import Decoder
from pipeline.media.planes import plane_layout
from schemas.errors import ClipFault
from schemas.recipe import Limits, Recipe
from tests.support.media.interlaced import write_planes
from tests.support.media.probes import PROBE
from tests.support.studio import Studio, clip_of

WIDTH, HEIGHT = 160, 96
Luma = np.ndarray
EBU = (235, 210, 170, 145, 106, 81, 41, 16)
SMPTE = (180, 162, 131, 112, 84, 65, 35)


def picture(index: int, rng: np.random.Generator) -> Luma:
    """Moving blobs with grain."""
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    wave = np.sin(x / 9 + 0.4 * index) * np.cos(y / 7 - 0.2 * index)
    grain = rng.normal(0, 4, (HEIGHT, WIDTH))
    return np.clip(120 + 70 * wave + grain, 40, 235).astype(np.uint8)


def bars(levels: tuple[int, ...], noise: float, rng: np.random.Generator) -> Luma:
    """A test signal: bars, with another pattern in the lowest quarter."""
    columns = np.array(levels)[np.arange(WIDTH) * len(levels) // WIDTH]
    image = np.tile(columns, (HEIGHT, 1)).astype(float)
    image[3 * HEIGHT // 4 :] = np.linspace(16, 235, WIDTH)
    return np.clip(image + rng.normal(0, noise, image.shape), 0, 255).astype(np.uint8)


def slate() -> Luma:
    image = np.full((HEIGHT, WIDTH), 30, np.uint8)
    cv2.putText(image, "REEL 42", (10, 55), cv2.FONT_HERSHEY_SIMPLEX, 1, 220, 2)
    return image


def black(noise: float, rng: np.random.Generator) -> Luma:
    """Leader with tape noise and a speck of dust."""
    image = np.clip(18 + rng.normal(0, noise, (HEIGHT, WIDTH)), 0, 255).astype(np.uint8)
    image[40:42, rng.integers(10, 150)] = 200
    return image


def left(frames: list[Luma]) -> list[Left]:
    meter = LeaderMeter()
    for frame in frames:
        meter.add(frame)
    return meter.finish()


@pytest.mark.parametrize("noise", [0.0, 4.0])
def test_leader_bars_and_slates_are_found(noise: float) -> None:
    rng = np.random.default_rng(0)
    frames = [black(noise, rng) for _ in range(10)]
    frames += [bars(EBU, noise, rng) for _ in range(9)]
    frames += [picture(i, rng) for i in range(12)]
    frames += [slate()] * 30
    frames += [bars(SMPTE, noise, rng) for _ in range(8)]
    assert left(frames) == [
        Left(0, 10, "flat"), Left(10, 19, "bars"), Left(31, 61, "slate"), Left(61, 69, "bars"),
    ]  # fmt: skip


def test_short_runs_and_still_pictures_are_restored() -> None:
    rng = np.random.default_rng(1)
    still = picture(0, rng)
    moving = [picture(i, rng) for i in range(10)]
    assert left([*moving, black(0, rng), black(0, rng), *moving]) == []  # a dropout
    assert left([*moving, *[slate()] * 23, *moving]) == []
    assert left([still] * 40) == []  # a freeze of a picture with grain
    night = []  # a small object moves slowly in the dark
    for index in range(40):
        night.append(np.full((HEIGHT, WIDTH), 20, np.uint8))
        night[-1][30:60, 50 + index // 4 : 60 + index // 4] = 90
    assert left(night) == []
    ramp = np.tile(np.linspace(16, 235, WIDTH), (HEIGHT, 1)).astype(np.uint8)
    assert left([np.roll(ramp, 3 * i, axis=1) for i in range(30)]) == []


def blanking_of(frames: list[Luma]) -> Blanking:
    meter = BlankingMeter()
    for frame in frames:
        meter.add(frame)
    return meter.finish()


def framed(edges: Blanking, index: int, rng: np.random.Generator) -> Luma:
    image = picture(index, rng)
    inside = np.zeros(image.shape, bool)
    inside[edges.top : HEIGHT - edges.bottom, edges.left : WIDTH - edges.right] = True
    noise = np.clip(17 + rng.normal(0, 2, image.shape), 0, 255)
    return np.where(inside, image, noise).astype(np.uint8)


@pytest.mark.parametrize(
    "edges",
    [Blanking(), Blanking(12, 12, 0, 0), Blanking(0, 0, 9, 7), Blanking(1, 0, 3, 2),
     Blanking(11, 13, 5, 6)],
)  # fmt: skip
def test_blanking_is_measured_to_the_line(edges: Blanking) -> None:
    rng = np.random.default_rng(2)
    assert blanking_of([framed(edges, i, rng) for i in range(12)]) == edges


def with_data(index: int, rng: np.random.Generator, dark: bool) -> Luma:
    """Lines 0 and 1 carry bits. With `dark`, two black lines separate them from the picture."""
    image = picture(index, rng)
    if dark:
        image[2:4] = 16
    for line in (0, 1):
        image[line] = np.repeat(rng.choice([16, 180], WIDTH // 8), 8)
    return image


@pytest.mark.parametrize(("dark", "lines"), [(True, 4), (False, 2)])
def test_lines_of_data_count_as_blanking(dark: bool, lines: int) -> None:
    rng = np.random.default_rng(3)
    found = blanking_of([with_data(i, rng, dark) for i in range(20)])
    assert found == Blanking(lines, 0, 0, 0)


def test_dark_or_short_clips_have_no_blanking() -> None:
    rng = np.random.default_rng(4)
    assert blanking_of([black(0, rng) // 8 for _ in range(20)]) == Blanking()
    assert blanking_of([framed(Blanking(9, 9, 9, 9), i, rng) for i in range(5)]) == Blanking()
    assert blanking_of([]) == Blanking()


def test_blanking_is_kept_in_every_plane_and_field() -> None:
    source = (np.zeros((20, 30), np.uint8), np.zeros((10, 15), np.uint8))
    restored = (np.ones((20, 30), np.uint8), np.ones((10, 15), np.uint8))
    luma, chroma = Blanking(3, 2, 1, 4).kept(source, restored)
    assert (int(luma.sum()), int(chroma.sum())) == (15 * 25, 7 * 12)
    assert not luma[:3].any() and not luma[-2:].any() and not luma[:, :1].any()
    for parity in (0, 1):
        edges = Blanking(3, 2, 1, 4).of_field(parity, 20)
        fields = [field_of(planes, parity) for planes in (source, restored)]
        assert np.array_equal(edges.kept(*fields)[0], luma[parity::2])


def test_left_frames_and_blanking_are_published_unchanged(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    edges = Blanking(8, 10, 6, 0)
    lumas = [black(2, rng) for _ in range(8)] + [bars(EBU, 2, rng) for _ in range(8)]
    lumas += [framed(edges, i, rng) for i in range(10)]
    size = HEIGHT // 2, WIDTH // 2
    frames = [(y, *(rng.integers(120, 136, size).astype(np.uint8) for _ in "uv")) for y in lumas]
    probe = replace(PROBE, width=WIDTH, height=HEIGHT, field_order="progressive", color_range=0)
    studio = Studio(tmp_path / "out", Recipe(shard_frames=6, grain=0.0))
    restored = studio.publish(write_planes(tmp_path / "clip.mkv", probe, frames))
    row = restored.row
    assert (row["frames_left"], row["blanking"], row["frames_changed"]) == (16, "8 10 6 0", 10)
    assert [shot.left for shot in restored.result.shots] == ["flat", "bars", None]
    with Decoder(restored.path, Limits()) as decoder:
        found = [frame.planes for frame in decoder]
    for index, (before, after) in enumerate(zip(frames, found, strict=True)):
        same = [a == b for a, b in zip(before, after, strict=True)]
        if index < 16:
            assert all(plane.all() for plane in same)
            continue
        for plane, scale in zip(same, (1, 2, 2), strict=True):
            height, left = len(plane), edges.left // scale
            assert plane[: edges.top // scale].all() and plane[:, :left].all()
            assert plane[height - edges.bottom // scale :].all()
        assert not same[0][edges.top : HEIGHT - edges.bottom, edges.left :].all()


def test_frames_that_the_manifest_names_are_left(tmp_path: Path) -> None:
    rng = np.random.default_rng(6)
    chroma = np.full((HEIGHT // 2, WIDTH // 2), 128, np.uint8)
    lumas = [black(2, rng) for _ in range(8)]
    lumas += [np.clip(slate() + rng.normal(0, 3, (HEIGHT, WIDTH)), 0, 255) for _ in range(6)]
    lumas += [picture(i, rng) for i in range(6)]
    frames = [(luma.astype(np.uint8), chroma, chroma) for luma in lumas]
    probe = replace(PROBE, width=WIDTH, height=HEIGHT, field_order="progressive", color_range=0)
    source = write_planes(tmp_path / "clip.mkv", probe, frames)
    studio = Studio(tmp_path / "out", Recipe(shard_frames=6, grain=0.0))
    restored = studio.publish(source, leave="6-13 19")
    shots = [(shot.start, shot.stop, shot.left) for shot in restored.result.shots]
    assert shots == [(0, 6, "flat"), (6, 14, "asked"), (14, 19, None), (19, 20, "asked")]
    assert (restored.row["frames_left"], restored.row["frames_changed"]) == (15, 5)
    plain = studio.settings.work_key(restored.row["source_sha256"], clip_of(source))
    assert restored.row["work_key"] != plain
    with pytest.raises(ClipFault, match="leave names frame 20, but the last frame is 19"):
        studio.survey(source, leave="3 20")


def test_boxes_that_the_manifest_protects_keep_the_source(tmp_path: Path) -> None:
    rng = np.random.default_rng(7)
    chroma = rng.integers(120, 136, (HEIGHT // 2, WIDTH // 2)).astype(np.uint8)
    frames = [(picture(index, rng), chroma, chroma) for index in range(5)]
    probe = replace(PROBE, width=WIDTH, height=HEIGHT, field_order="progressive", color_range=0)
    source = write_planes(tmp_path / "clip.mkv", probe, frames)
    studio = Studio(tmp_path / "out", Recipe(shard_frames=6, grain=0.0))
    made = studio.publish(source, protect="21,11,30,20 0,90,160,6")
    with Decoder(made.path, Limits()) as after:
        for before, frame in zip(frames, after, strict=True):
            same = before[0] == frame.planes[0]
            assert same[10:32, 20:52].all() and same[90:].all()
            assert (before[1] == frame.planes[1])[5:16, 10:26].all()
            assert not same[40:80].all()
    assert made.survey.protect == ["20,10,32,22", "0,90,160,6"]
    with pytest.raises(ClipFault, match="protect: 100,0,61,5: no box inside a picture of 160x96"):
        studio.survey(source, protect="100,0,61,5")


@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv422p"])
def test_a_protected_box_of_fields_is_the_box_of_the_frame(pix_fmt: str) -> None:
    probe = replace(PROBE, pix_fmt=pix_fmt, width=WIDTH, height=HEIGHT)
    box = Box.parse("21,13,30,19").widened(probe, by_fields=True)
    shapes = plane_layout(pix_fmt, WIDTH, HEIGHT).shapes
    source, changed = (tuple(np.full(s, value, np.uint8) for s in shapes) for value in (0, 1))
    fields = [
        put_back(field_of(changed, p), field_of(source, p), pix_fmt, box.of_field(p))
        for p in (0, 1)
    ]
    whole = put_back(changed, source, pix_fmt, box)
    for one, other in zip(woven(*fields), whole, strict=True):
        assert np.array_equal(one, other)
