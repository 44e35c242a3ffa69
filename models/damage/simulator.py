"""A seeded simulator of what happens to film, tape and video between the lens and the file.

A preset (`models/damage/presets.py`) names the degradations in the order of the material's life
(optics, film, transfer, codec) and the ranges their parameters are drawn from. Each degradation
has its own random stream, so that adding one leaves the others as they were.
"""

import zlib
from collections.abc import Callable
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
from models.damage.defects import FAINT, blotches, dust, scratches
from models.damage.digital import bit_depth, jpeg, packet_loss, quantise
from models.damage.interlacing import combing, field_blend, telecine, wrong_field_order
from models.damage.noise import grain, shot_noise, speckle, white_noise
from models.damage.optics import blur, directed_blur, sinc_ringing
from models.damage.presets import PRESETS
from models.damage.tone import colour_cast, fading, flicker, flicker_field, monochrome
from models.damage.transport import gate_weave, lost_frames

CodecName = Literal["h264", "mpeg2video", "mpeg4"]
Codec = Callable[[np.ndarray, CodecName, int], np.ndarray]
Degradation = Callable[..., np.ndarray]


@dataclass(frozen=True)
class Aged:
    """A damaged clip and the truth about it."""

    frames: np.ndarray  # (T, H, W, 3) uint8
    masks: dict[str, np.ndarray]  # MASKS: (T, H, W) bool, changed pixels
    severity: dict[str, float]  # "grain.strength": 14.2, ...; only what was applied
    target: np.ndarray  # (T, H, W, 3) uint8: the clean clip, placed and toned as in `frames`


DEGRADATIONS: dict[str, Degradation] = {
    "blur": blur,
    "directed_blur": directed_blur,
    "sinc_ringing": sinc_ringing,
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
MASKS = {
    "scratches": "scratch", "dust": "dust", "blotches": "blotch", "lost_frames": "lost",
    "dropouts": "dropout", "head_switching": "switching", "noise_bars": "tracking",
    "packet_loss": "packet",
}  # fmt: skip
MOVES = {  # pixels to other places or frames, by draws alone: earlier masks move with them
    "gate_weave", "lost_frames", "combing", "field_blend", "wrong_field_order", "telecine",
    "line_jitter",
}  # fmt: skip
KEPT = {"gate_weave", "monochrome"}  # not for a restoration to undo
CODECS = get_args(CodecName)  # applied by the function the caller passes in


def age(clip: np.ndarray, preset: str, seed: int, codec: Codec | None = None) -> Aged:
    """Damage a clip (T, H, W, 3) uint8; the same seed gives the same bytes.

    `codec(frames, name, quality)` encodes and decodes frames; quality is crf for "h264" and the
    quantiser for "mpeg2video" and "mpeg4". Without it the digital stage is left out.
    """
    if preset not in PRESETS:
        raise ValueError(f"unknown damage preset {preset!r}: one of {', '.join(PRESETS)}")
    if clip.dtype != np.uint8 or clip.ndim != 4 or clip.shape[3] != 3:
        raise ValueError(f"a clip is (T, H, W, 3) uint8, not {clip.shape} {clip.dtype}")
    film, target = clip.astype(np.float32), clip.astype(np.float32)
    masks = {name: np.zeros(clip.shape[:3], bool) for name in MASKS.values()}
    severity: dict[str, float] = {}
    for slot in PRESETS[preset]:
        drawn = slot.draw(stream(seed, slot.name))
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
                masks[MASKS[name]] = outline(name, before, film)
            if name in KEPT:
                target = degrade(target, name, seed, params)
        severity |= {f"{name}.{key}": float(value) for key, value in params.items()} or {name: 1.0}
    return Aged(quantise(film), masks, severity, quantise(target))


def degrade(film: np.ndarray, name: str, seed: int, params: dict[str, float]) -> np.ndarray:
    """A float clip after one degradation, which may change it in place."""
    return DEGRADATIONS[name](film, stream(seed, name + ".pixels"), **params)


def moved(mask: np.ndarray, name: str, seed: int, params: dict[str, float]) -> np.ndarray:
    """Where a degradation that moves pixels takes those of a mask (T, H, W): the places that hold
    at least `FAINT` of one of them.
    """
    if not mask.any():
        return mask
    picture = np.repeat(mask[..., None], 3, 3).astype(np.float32)
    weight = degrade(picture, name, seed, params)[..., 0]  # negative in the lobes of a cubic warp
    return np.asarray(np.abs(weight) >= FAINT)


def outline(name: str, before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """The mask (T, H, W) of a defect: the changed pixels, of a lost frame all."""
    mask = changed(before, after)
    return mask | mask.any((1, 2), keepdims=True) if name == "lost_frames" else mask


def stream(seed: int, name: str) -> np.random.Generator:
    """The random stream of one degradation; PCG64 gives the same numbers on every machine."""
    return np.random.Generator(np.random.PCG64([seed, zlib.crc32(name.encode())]))


def changed(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Pixels (T, H, W) that moved by at least half a grey level after clipping."""
    moved = np.abs(np.clip(after, 0, 255) - np.clip(before, 0, 255)) > 0.5
    return np.asarray(moved.any(3))
