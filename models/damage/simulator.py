"""A seeded simulator of damage to film, tape and video between the lens and the file.

A preset (`models/damage/presets.py`) names the degradations in the order of the material's life
(optics, film, transfer, codec) and the ranges of their parameters. Each degradation has its own
random numbers, so that adding one does not change the others.
"""

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, cast, get_args

import numpy as np

from models.damage.analogue import (
    bandwidth,
    dropouts,
    ghost,
    head_switching,
    hum_bar,
    line_jitter,
    low_resolution,
    tape_noise,
)
from models.damage.composite import chroma_loss, colour_bleed, composite, noise_bars
from models.damage.defects import FAINT, blotches, crumbs, dust, scratches, stains
from models.damage.digital import bit_depth, jpeg, packet_loss, quantise
from models.damage.interlacing import combing, field_blend, telecine, wrong_field_order
from models.damage.noise import grain, shot_noise, speckle, white_noise
from models.damage.optics import blur, directed_blur, sinc_ringing
from models.damage.presets import PRESETS, Slot
from models.damage.standing import standing_dirt
from models.damage.tone import colour_cast, fading, flicker, flicker_field, monochrome
from models.damage.transport import gate_weave, lost_frames

CodecName = Literal["h264", "mpeg2video", "mpeg4"]
Codec = Callable[[np.ndarray, CodecName, int], np.ndarray]
Degradation = Callable[..., np.ndarray]


@dataclass(frozen=True)
class Aged:
    """A damaged clip with its ground truth."""

    frames: np.ndarray  # (T, H, W, 3) uint8
    masks: dict[str, np.ndarray]  # by the values of MASKS: (T, H, W) bool, changed pixels
    severity: dict[str, float]  # parameters of the applied degradations: "grain.strength": 14.2
    target: np.ndarray  # (T, H, W, 3) uint8: the clean clip with the degradations of KEPT


DEGRADATIONS: dict[str, Degradation] = {
    "blur": blur,
    "directed_blur": directed_blur,
    "sinc_ringing": sinc_ringing,
    "standing_dirt": standing_dirt,
    "flicker": flicker,
    "flicker_field": flicker_field,
    "grain": grain,
    "white_noise": white_noise,
    "shot_noise": shot_noise,
    "speckle": speckle,
    "fading": fading,
    "colour_cast": colour_cast,
    "monochrome": monochrome,
    "scratches": scratches,
    "dust": dust,
    "blotches": blotches,
    "stains": stains,
    "crumbs": crumbs,
    "gate_weave": gate_weave,
    "lost_frames": lost_frames,
    "combing": combing,
    "field_blend": field_blend,
    "wrong_field_order": wrong_field_order,
    "telecine": telecine,
    "bandwidth": bandwidth,
    "composite": composite,
    "colour_bleed": colour_bleed,
    "chroma_loss": chroma_loss,
    "tape_noise": tape_noise,
    "line_jitter": line_jitter,
    "dropouts": dropouts,
    "noise_bars": noise_bars,
    "head_switching": head_switching,
    "ghost": ghost,
    "hum_bar": hum_bar,
    "low_resolution": low_resolution,
    "bit_depth": bit_depth,
    "jpeg": jpeg,
    "packet_loss": packet_loss,
}
MASKS = {  # local defects: degradation -> name of its mask
    "scratches": "scratch",
    "dust": "dust",
    "blotches": "blotch",
    "stains": "blotch",
    "crumbs": "dust",
    "standing_dirt": "standing",
    "lost_frames": "lost",
    "dropouts": "dropout",
    "head_switching": "switching",
    "noise_bars": "tracking",
    "packet_loss": "packet",
}
MOVES = {  # they move pixels by random numbers only, so earlier masks move with the picture
    "gate_weave",
    "lost_frames",
    "combing",
    "field_blend",
    "wrong_field_order",
    "telecine",
    "line_jitter",
}
KEPT = {"gate_weave", "monochrome"}  # a restoration need not undo these
CODECS = get_args(CodecName)  # applied by the caller's function


def age(clip: np.ndarray, preset: str, seed: int, codec: Codec | None = None) -> Aged:
    """Damage a clip (T, H, W, 3) uint8; the same seed gives the same bytes.

    `codec(frames, name, quality)` encodes and decodes frames; quality is crf for "h264" and the
    quantiser for "mpeg2video" and "mpeg4". Without it video codecs are left out. Raises ValueError
    for an unknown preset or another shape or type.
    """
    if preset not in PRESETS:
        raise ValueError(f"unknown damage preset {preset!r}: one of {', '.join(PRESETS)}")
    return age_by(clip, PRESETS[preset], seed, codec)


def age_by(clip: np.ndarray, slots: Sequence[Slot], seed: int, codec: Codec | None = None) -> Aged:
    """Damage a clip as `age` does, by the steps of ``slots``."""
    if clip.dtype != np.uint8 or clip.ndim != 4 or clip.shape[3] != 3:
        raise ValueError(f"a clip is (T, H, W, 3) uint8, not {clip.shape} {clip.dtype}")
    film, target = clip.astype(np.float32), clip.astype(np.float32)
    masks = {name: np.zeros(clip.shape[:3], bool) for name in MASKS.values()}
    severity: dict[str, float] = {}
    for slot in slots:
        drawn = slot.draw(random_stream(seed, slot.name))
        if drawn is None or (drawn[0] in CODECS and codec is None):
            continue
        name, params = drawn
        if codec is not None and name in CODECS:
            quality = round(params["quality"])
            film = codec(quantise(film), cast(CodecName, name), quality).astype(np.float32)
        else:
            before = film.copy() if name in MASKS else film
            film = degrade(film, name, seed, params)
            if name in MOVES:
                masks = {kind: moved(mask, name, seed, params) for kind, mask in masks.items()}
            if name in MASKS:
                masks[MASKS[name]] |= outline(name, before, film)
            if name in KEPT:
                target = degrade(target, name, seed, params)
        severity |= {f"{name}.{key}": float(value) for key, value in params.items()} or {name: 1.0}
    return Aged(quantise(film), masks, severity, quantise(target))


def degrade(film: np.ndarray, name: str, seed: int, params: dict[str, float]) -> np.ndarray:
    """A float clip after one degradation; the given clip may change in place."""
    return DEGRADATIONS[name](film, random_stream(seed, name + ".pixels"), **params)


def moved(mask: np.ndarray, name: str, seed: int, params: dict[str, float]) -> np.ndarray:
    """A mask (T, H, W) after a degradation that moves pixels.

    A pixel is in it if at least `FAINT` of a masked pixel arrives there.
    """
    if not mask.any():
        return mask
    picture = np.repeat(mask[..., None], 3, 3).astype(np.float32)
    weight = degrade(picture, name, seed, params)[..., 0]  # a cubic warp has negative lobes
    return np.asarray(np.abs(weight) >= FAINT)


def outline(name: str, before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """The mask (T, H, W) of a defect: the changed pixels, or all pixels of a lost frame."""
    mask = changed(before, after)
    return mask | mask.any((1, 2), keepdims=True) if name == "lost_frames" else mask


def random_stream(seed: int, name: str) -> np.random.Generator:
    """The random numbers of one degradation; PCG64 gives the same ones on every machine."""
    return np.random.Generator(np.random.PCG64([seed, zlib.crc32(name.encode())]))


def changed(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Pixels (T, H, W) that changed by more than half a grey level after clipping."""
    moved = np.abs(np.clip(after, 0, 255) - np.clip(before, 0, 255)) > 0.5
    return np.asarray(moved.any(3))
