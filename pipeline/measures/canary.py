"""Canaries: damage planted on clean shots, restored in memory and compared with the clean picture.

They are the true score of a night, for the truth is known. Nothing of them is published, and they
touch no result: a canary that fails is a row that says why.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from models.damage.simulator import Aged, age
from models.restorer import Restorer
from pipeline.clip.clip import Clip
from pipeline.clip.shards import CLEAN, Shard, Span
from pipeline.clip.survey import Survey
from pipeline.detect.metrics import psnr_from_mean_square
from pipeline.restore import decode, pixel_format
from pipeline.runs.settings import Settings
from pipeline.sources.fetch import fetched
from pipeline.store import layout
from schemas import strict_json
from schemas.recipe import Recipe

PRESET = "film"
FRAMES = 16  # from the start of the shot
WIDTH, HEIGHT = 384, 288  # the largest window, in the middle of the picture: it bounds the memory
VISIBLE = 8.0  # code values: an error that is seen
REPAIRED = 0.5  # of the planted error: what may be left of a repaired pixel
AROUND = 9  # pixels: side of what is widened around a planted defect
NAN = float("nan")

Film = NDArray[np.uint8]  # (T, H, W, 3)
Row = dict[str, object]  # columns of tables/canaries
log = logging.getLogger(__name__)


class Score(NamedTuple):
    """How a restored film stands to the truth. NaN: there is nothing to measure."""

    psnr_damaged_db: float  # over RGB; peak 255, at most 100
    psnr_restored_db: float
    repaired: float  # share of the visible planted defects that are gone, of pixels
    harmed: float  # share of the other pixels that got visibly further from the truth


def chosen(shard: Shard, survey: Survey, recipe: Recipe) -> Iterator[tuple[int, Span, int]]:
    """The clean shots that begin in a shard and get a canary: number, span and random seed.

    The id of the clip and the number of the shot alone decide, so every run chooses the same.
    """
    if survey.by_fields or not recipe.strength:
        return
    for span in shard.spans:
        if span.shot.left != CLEAN or span.start != span.shot.start:
            continue
        number = survey.shots.index(span.shot)
        digest = hashlib.sha256(f"{survey.clip_id}:{number}".encode()).digest()
        if int.from_bytes(digest[:4]) < recipe.canaries * 2**32:
            yield number, span, int.from_bytes(digest[4:8]) >> 1


def canaries(
    source: Path, survey: Survey, shard: Shard, recipe: Recipe, model: Restorer
) -> Iterator[Row]:
    """A row for each canary of a shard. Raises nothing but what is no Exception."""
    for number, span, seed in chosen(shard, survey, recipe):
        begun = time.monotonic()
        row: Row = {
            "clip_id": survey.clip_id, "shot": number, "start": span.start, "preset": PRESET,
            "seed": seed, "model": recipe.model, "recipe_sha256": recipe.digest,
        }  # fmt: skip
        try:
            clean = _window(source, survey, span, recipe)
            aged = age(clean, PRESET, seed)
            found = scored(aged, _restored(aged.frames, recipe, model))
            row |= {"frames": len(clean), "height": clean.shape[1], "width": clean.shape[2]}
            row |= {name: None if np.isnan(n) else round(n, 5) for name, n in zip(
                found._fields, found, strict=True
            )}  # fmt: skip
        except Exception as error:
            log.warning("canary of clip %s, shot %d", survey.clip_id, number, exc_info=True)
            row["fault"] = f"{type(error).__name__}: {error}"
        yield row | {"seconds": round(time.monotonic() - begun, 3)}


def write_canaries(
    clip: Clip, survey: Survey, shard: Shard, settings: Settings, model: Restorer
) -> None:
    """Write the rows of a shard's canaries to the ledger. No fault of them is one of the clip."""
    ledger, cache = settings.ledger, Path(settings.cache)
    try:
        if not any(chosen(shard, survey, settings.recipe)):
            return
        with fetched(clip.source_uri, cache, survey.source_token) as source:
            for row in canaries(source, survey, shard, settings.recipe, model):
                uri = layout.canary(ledger.uri, clip.clip_id, int(str(row["shot"])))
                row |= {"weights_sha256": settings.weights_sha256}
                ledger.store.write_bytes(uri, strict_json.dumps(row).encode())
    except Exception:
        log.warning("canaries of clip %s", clip.clip_id, exc_info=True)


def _window(source: Path, survey: Survey, span: Span, recipe: Recipe) -> Film:
    """The first frames of a shot, as a window in the middle of the picture."""
    stop = min(span.stop, span.start + FRAMES)
    part = Shard(0, (Span(span.start, stop, span.shot),))
    pixels, pictures = pixel_format(survey.probe), list[NDArray[np.uint8]]()
    for frame in decode(source, survey, part, recipe.limits, seek=False):
        if span.start <= frame.index < stop:
            picture = pixels.to_rgb8(frame.planes)
            y, x = (
                max(a - b, 0) // 2 for a, b in zip(picture.shape, (HEIGHT, WIDTH), strict=False)
            )
            pictures.append(picture[y : y + HEIGHT, x : x + WIDTH].copy())
        if frame.index >= stop:
            break
    return np.stack(pictures)


def _restored(film: Film, recipe: Recipe, model: Restorer) -> Film:
    """The film as a clip of this recipe is restored."""
    images = [np.divide(frame, 255, dtype=np.float32) for frame in film]
    stream = model.stream(
        images, deflicker=recipe.deflicker, suspects=recipe.suspects, grain=recipe.grain
    )
    made = [
        image + recipe.strength * (restored.image - image)
        for image, restored in zip(images, stream, strict=True)
    ]
    return np.clip(np.rint(255 * np.stack(made)), 0, 255).astype(np.uint8)


def scored(aged: Aged, restored: Film) -> Score:
    """Compare the damaged and the restored film with the truth."""
    before, after = (_errors(film, aged.target) for film in (aged.frames, restored))
    planted = np.logical_or.reduce(list(aged.masks.values()))
    defects = planted & (before > VISIBLE)
    near = np.stack([cv2.dilate(m.astype(np.uint8), np.ones((AROUND, AROUND))) for m in planted])
    rest = near == 0
    return Score(
        _psnr(aged.frames, aged.target),
        _psnr(restored, aged.target),
        repaired=_share(after[defects] < REPAIRED * before[defects]),
        harmed=_share(after[rest] > before[rest] + VISIBLE),
    )


def _errors(film: Film, target: Film) -> NDArray[np.float32]:
    """The mean absolute error of each pixel in code values, of means over 3 x 3 pixels."""
    apart = film.astype(np.float32) - target
    return np.stack([np.abs(cv2.blur(frame, (3, 3))).mean(axis=2) for frame in apart])


def _psnr(film: Film, target: Film) -> float:
    return psnr_from_mean_square(float(np.square(film.astype(np.float32) - target).mean()))


def _share(values: NDArray[np.bool_]) -> float:
    return float(values.mean()) if values.size else NAN
