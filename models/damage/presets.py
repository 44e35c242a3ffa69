"""Damage presets: degradations with their probability and the ranges of their parameters.

A range `(low, high)` is drawn uniformly once per clip; a single number is fixed. Grey levels go to
255, lengths are in pixels. The product is tested on `film`, `tape`, `broadcast` and `web`. Their
`_train` forms are wider on purpose, around the same centre. `worn` and `scan` hold the other
degradations; a clip gets a part of them.
"""

from dataclasses import dataclass, field

import numpy as np

Span = float | tuple[float, float]


@dataclass(frozen=True)
class Option:
    """One degradation and the ranges of its parameters."""

    name: str
    ranges: dict[str, Span]
    weight: float = 1.0


@dataclass(frozen=True)
class Slot:
    """One step in the life of the material: one of its options, or none."""

    name: str
    chance: float
    options: tuple[Option, ...] = field(default=())

    def draw(self, rng: np.random.Generator) -> tuple[str, dict[str, float]] | None:
        """The degradation and its parameters for one clip; None if it has none in this slot."""
        if rng.random() >= self.chance:
            return None
        weights = np.array([option.weight for option in self.options])
        option = self.options[int(rng.choice(len(weights), p=weights / weights.sum()))]
        return option.name, {key: draw(span, rng) for key, span in option.ranges.items()}


def draw(span: Span, rng: np.random.Generator) -> float:
    """A number drawn from a range, or the fixed number itself."""
    return float(rng.uniform(*span)) if isinstance(span, tuple) else float(span)


def one(chance: float, name: str, **ranges: Span) -> Slot:
    """A slot with a single option."""
    return Slot(name, chance, (Option(name, ranges),))


FILM = (
    one(1.0, "blur", sigma_px=(0.6, 1.0)),
    one(1.0, "flicker", gain_sd=(0.045, 0.075), gamma_sd=(0.045, 0.075), rho=(0.1, 0.5)),
    one(1.0, "grain", strength=(11, 17), floor=0.5, bell=2, sigma_px=(0.45, 0.75), chroma=(3, 5)),
    one(1.0, "scratches", lines=3),
    one(1.0, "dust", rate=(3, 5), white_share=(0.2, 0.8)),
    one(0.5, "blotches", rate=(0.02, 0.12)),
    one(1.0, "h264", quality=(22, 26)),
)

FILM_TRAIN = (
    one(0.85, "blur", sigma_px=(0.3, 1.5)),
    one(0.8, "flicker", gain_sd=(0.01, 0.11), gamma_sd=(0, 0.11), rho=(0, 0.7)),
    one(0.9, "grain", strength=(2, 26), floor=(0.1, 1), bell=(0, 2.5), sigma_px=(0.2, 1.1),
        chroma=(0, 9)),
    one(0.25, "white_noise", sigma=(2, 30)),
    one(0.75, "scratches", lines=(1, 6)),
    one(0.8, "dust", rate=(0.3, 6), white_share=(0, 1)),
    one(0.3, "blotches", rate=(0.25, 0.7)),
    Slot("codec", 0.6, (
        Option("h264", {"quality": (15, 31)}, 0.7),
        Option("mpeg2video", {"quality": (2, 10)}, 0.15),
        Option("mpeg4", {"quality": (2, 10)}, 0.15),
    )),
)  # fmt: skip

ACCESS_TRAIN = (  # a print with little grain, kept as a small file: coding softened its specks
    one(0.6, "blur", sigma_px=(0.3, 1.2)),
    one(0.4, "flicker", gain_sd=(0.005, 0.05), gamma_sd=(0, 0.05), rho=(0, 0.7)),
    one(0.6, "grain", strength=(1, 8), floor=(0.1, 1), bell=(0, 2.5), sigma_px=(0.3, 1.1),
        chroma=(0, 3)),
    one(0.6, "scratches", lines=(1, 4)),
    one(0.95, "dust", rate=(1, 8), white_share=(0, 1), soft_share=(0, 1), least_opacity=(0.2, 0.7)),
    one(0.3, "blotches", rate=(0.1, 0.6)),
    Slot("codec", 1.0, (
        Option("h264", {"quality": (20, 36)}, 0.6),
        Option("mpeg4", {"quality": (2, 16)}, 0.2),
        Option("mpeg2video", {"quality": (2, 16)}, 0.2),
    )),
)  # fmt: skip

SOILED_TRAIN = (  # a dirty print, seen through its dirt in places, kept as a small file
    one(0.6, "blur", sigma_px=(0.3, 1.4)),
    one(0.4, "standing_dirt", count=(1, 5), gate_share=(0, 1), white_share=(0, 0.2)),
    one(0.4, "flicker", gain_sd=(0.005, 0.05), gamma_sd=(0, 0.05), rho=(0, 0.7)),
    one(0.5, "grain", strength=(1, 9), floor=(0.1, 1), bell=(0, 2.5), sigma_px=(0.3, 1.1),
        chroma=(0, 3)),
    one(0.3, "scratches", lines=(1, 3)),
    one(0.9, "stains", rate=(0.3, 3), white_share=(0, 1)),
    one(0.6, "crumbs", rate=(0.1, 1.2), white_share=(0, 0.7)),
    one(0.7, "dust", rate=(0.5, 5), white_share=(0, 1), soft_share=(0.2, 1),
        least_opacity=(0.15, 0.7)),
    one(0.5, "blotches", rate=(0.1, 0.8)),
    Slot("codec", 0.9, (
        Option("h264", {"quality": (20, 36)}, 0.6),
        Option("mpeg4", {"quality": (2, 16)}, 0.2),
        Option("mpeg2video", {"quality": (2, 16)}, 0.2),
    )),
)  # fmt: skip

TAPE = (  # a VHS or U-matic copy, digitised and kept as MPEG-2
    one(1.0, "bandwidth", luma_px=(0.7, 1.1), chroma_px=(2.5, 4), delay_px=(0, 2),
        ringing=(0.3, 0.8)),
    one(1.0, "tape_noise", luma=(4, 9), chroma=(6, 14), chroma_px=(4, 8)),
    one(1.0, "line_jitter", jitter_px=(0.15, 0.4), wave_px=(0.2, 0.8)),
    one(1.0, "dropouts", rate=(1, 3)),
    one(0.5, "head_switching", lines=(3, 8), shear_px=(8, 40)),
    one(1.0, "mpeg2video", quality=(3, 6)),
)  # fmt: skip

TAPE_TRAIN = (
    one(0.9, "bandwidth", luma_px=(0.35, 1.5), chroma_px=(1, 5.5), delay_px=(-1, 3),
        ringing=(0, 1.2)),
    one(0.95, "tape_noise", luma=(1, 16), chroma=(2, 24), chroma_px=(2, 11)),
    one(0.7, "line_jitter", jitter_px=(0, 0.7), wave_px=(0, 1.4)),
    one(0.8, "dropouts", rate=(0.5, 8), repeat_share=(0, 0.8)),
    one(0.3, "head_switching", lines=(2, 9), shear_px=(4, 60)),
    one(0.2, "ghost", delay_px=(4, 30), gain=(0.03, 0.2)),
    one(0.15, "hum_bar", strength=(2, 12), speed_px=(-8, 8)),
    Slot("codec", 0.8, (
        Option("h264", {"quality": (15, 31)}, 0.4),
        Option("mpeg2video", {"quality": (2, 10)}, 0.5),
        Option("mpeg4", {"quality": (2, 10)}, 0.1),
    )),
)  # fmt: skip

BROADCAST = (  # received over the air, then kept on tape
    one(1.0, "blur", sigma_px=(0.5, 0.9)),
    one(0.7, "ghost", delay_px=(6, 20), gain=(0.05, 0.12)),
    one(0.5, "hum_bar", strength=(3, 8), speed_px=(-4, 4)),
    one(1.0, "white_noise", sigma=(5, 10)),
    one(1.0, "bandwidth", luma_px=(0.5, 0.9), chroma_px=(1.5, 3), delay_px=(0, 1),
        ringing=(0.2, 0.6)),
    one(1.0, "dropouts", rate=(0.3, 1)),
    one(1.0, "mpeg2video", quality=(4, 8)),
)  # fmt: skip

WEB = (  # a small, strongly compressed upload, downloaded and enlarged
    one(1.0, "low_resolution", scale=(0.55, 0.8), sharpen=(0.1, 0.5)),
    one(1.0, "white_noise", sigma=(1, 4)),
    one(1.0, "h264", quality=(29, 35)),
)

WEB_TRAIN = (
    one(0.7, "low_resolution", scale=(0.35, 1), sharpen=(0, 0.8)),
    one(0.6, "white_noise", sigma=(1, 10)),
    Slot("codec", 1.0, (
        Option("h264", {"quality": (24, 42)}, 0.6),
        Option("mpeg4", {"quality": (4, 24)}, 0.2),
        Option("mpeg2video", {"quality": (4, 24)}, 0.2),
    )),
)  # fmt: skip

WORN = (  # a print after decades of projection: dyes, splices, gate
    Slot("lens", 1.0, (
        Option("blur", {"sigma_px": (0.5, 1.2)}, 0.6),
        Option("directed_blur", {"sigma_px": (0.8, 2), "ratio": (0.3, 0.7)}, 0.25),
        Option("sinc_ringing", {"cutoff": (0.4, 0.8)}, 0.15),
    )),
    one(0.8, "flicker", gain_sd=(0.02, 0.1), gamma_sd=(0.02, 0.1), rho=(0, 0.7)),
    one(0.7, "flicker_field", gain_sd=(0.02, 0.1), rho=(0, 0.8)),
    one(0.9, "grain", strength=(4, 20), floor=(0.2, 0.8), bell=2, sigma_px=(0.4, 1),
        chroma=(0, 6)),
    Slot("dyes", 0.8, (
        Option("fading", {"cyan": (0.05, 0.5), "magenta": (0, 0.25), "yellow": (0, 0.35),
                          "fog": (0, 25), "saturation": (0.4, 1)}, 0.5),
        Option("colour_cast", {"gain_sd": (0.03, 0.15), "offset_sd": (0, 10),
                               "gamma_sd": (0, 0.12)}, 0.3),
        Option("monochrome", {"sepia": (0, 1)}, 0.2),
    )),
    one(0.8, "scratches", lines=(1, 5)),
    one(0.9, "dust", rate=(1, 6), white_share=(0, 1)),
    one(0.5, "blotches", rate=(0.05, 0.5)),
    one(0.9, "gate_weave", weave_px=(0.2, 1.5), rho=(0.3, 0.9), turn_deg=(0, 0.1),
        jump_px=(3, 20), jump_chance=(0, 0.02)),
    one(0.15, "lost_frames", most=(1, 5), black_share=0.4),
    one(0.8, "h264", quality=(17, 28)),
)  # fmt: skip

SCAN = (  # fields, composite video, a bad head, and files of the first digital years
    Slot("light", 0.8, (
        Option("shot_noise", {"photons": (60, 600)}),
        Option("speckle", {"strength": (0.03, 0.15), "sigma_px": (0.2, 0.8)}),
    )),
    Slot("fields", 0.8, (
        Option("combing", {"lag": (0.4, 1)}),
        Option("field_blend", {"weight": (0.2, 0.5)}),
        Option("wrong_field_order", {}, 0.5),
        Option("telecine", {}),
    )),
    one(0.6, "composite", notch=(0.4, 0.95), chroma_px=(1.5, 4)),
    one(0.4, "colour_bleed", right_px=(1, 8), down_px=(0.3, 3)),
    one(0.4, "chroma_loss", share=(0.003, 0.03), lines=(1, 3)),
    one(0.3, "noise_bars", bars=(0.5, 2.4), height_share=(0.02, 0.1), speed_px=(-8, 8),
        shear_px=(4, 30)),
    one(0.25, "sinc_ringing", cutoff=(0.4, 0.9)),
    one(0.3, "bit_depth", bits=(5, 8)),
    Slot("codec", 0.8, (
        Option("jpeg", {"quality": (20, 90), "wander": (0, 6)}, 0.4),
        Option("mpeg2video", {"quality": (3, 10)}, 0.3),
        Option("h264", {"quality": (18, 30)}, 0.3),
    )),
    one(0.25, "packet_loss", share=(0.005, 0.04), leak=(0.6, 0.95)),
)  # fmt: skip

PRESETS: dict[str, tuple[Slot, ...]] = {
    "film": FILM,
    "film_train": FILM_TRAIN,
    "access_train": ACCESS_TRAIN,
    "soiled_train": SOILED_TRAIN,
    "tape": TAPE,
    "tape_train": TAPE_TRAIN,
    "broadcast": BROADCAST,
    "web": WEB,
    "web_train": WEB_TRAIN,
    "worn": WORN,
    "scan": SCAN,
    "g25": (one(1.0, "white_noise", sigma=25),),
    "noise": (one(1.0, "white_noise", sigma=(2, 42)),),
    "clean": (),
}
