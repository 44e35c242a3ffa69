"""Judges the network over a shot of shot_joint.py against the shipped one and the temporal filter.

Run: python docs/experiments/scripts/shot_joint_judged.py valid FOLDER OUT
     python docs/experiments/scripts/shot_joint_judged.py real FILMS OUT [--every N]
     python docs/experiments/scripts/shot_joint_judged.py scores KIND WEIGHTS VALID [REAL]

FOLDER has the clean validation clips, FILMS the benchmark's films. The first two write what the
networks see, and what the shipped one gives, to OUT. KIND is one of shot_joint.py and WEIGHTS the
folder that it wrote; without such a file there, KIND is judged before its first step.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import groupby
from pathlib import Path

import cv2
import numpy as np
import torch
from shot_joint import what_is_seen
from shot_judged import AHEAD, CONTEXT, MARGIN, UNKNOWN_NOISE, auc, crop_of, decibels, squared
from shot_passing import Shot, fresh
from torch import Tensor

from jobs.evaluate.evaluate import is_unsteady
from jobs.evaluate.real.film import Film
from jobs.evaluate.real.labels import load
from jobs.evaluate.samples import Options, find_clips, make_sample
from models.fidelity.change_bound import filter_share, noise_weight
from models.fidelity.evidence import log_odds
from models.fidelity.regions import Seen
from models.frame_state import FrameState, number_frames
from models.motion import engine
from models.motion.deflicker import Deflicker
from models.motion.temporal_filter import TemporalFilter
from models.network import checkpoint
from models.network.stage import restore_window
from models.network.unet import MULTIPLE, RestorationNet

FRAMES, SIDE = 12, 192  # of a validation clip, in its middle
FIELDS = "window", "trust", "flow", "believed"
FILTERS = engine.HALF_WEIGHT, 2.0  # code values at which an agreement of the filter is half
FILTERED = "shipped", "over a shot"  # what is filtered with each; the rest with the first
WARM_UPS, PARTED = (2, 4, 6, 8), 4  # frames; clips that are judged in parts


def with_shipped(net: RestorationNet, item: dict) -> dict:
    """What is seen, with the shipped network's pictures, its log odds, noise and error."""
    rows = [
        restore_window(net, window, trust, steps=1, seed=0)
        for window, trust in zip(item["window"], item["trust"], strict=True)
    ]
    shown = ((row.image, row.defect_logits) for row in rows)
    images, odds = (torch.stack(part) for part in zip(*shown, strict=True))
    facts = [(float(row.noise), float(row.predicted_error)) for row in rows]
    return item | {"image": images, "logits": odds, "facts": facts}


def of_valid(net: RestorationNet, folder: Path) -> Iterator[dict]:
    for preset in ("g25", "film"):
        for clip in find_clips([folder]):
            sample = make_sample(clip, preset, Options(FRAMES, 0, 352 if preset == "g25" else None))
            frames = sample.aged.frames
            high, wide = (min(length // MULTIPLE * MULTIPLE, SIDE) for length in frames.shape[1:3])
            top, left = (frames.shape[1] - high) // 2, (frames.shape[2] - wide) // 2
            part = np.s_[:, top : top + high, left : left + wide]
            images = list(frames.astype(np.float32) / 255)
            if is_unsteady(frames):
                images = [state.source for state in Deflicker().run(number_frames(images))]
            seen = what_is_seen(np.stack(images)[part].copy(), range(len(images)), "fine", 0)
            clean = torch.from_numpy(sample.truth[part].copy())
            yield with_shipped(net, seen) | {"preset": preset, "clip": clip.stem, "clean": clean}


def of_real(net: RestorationNet, folder: Path, every: int) -> Iterator[dict]:
    """A crop around every ``every``-th labelled place of a film."""
    for name, labels in groupby(sorted(load(), key=lambda one: one.clip), lambda one: one.clip):
        film, own = Film.read(folder / name), list(labels)[::every]
        for frame, here in groupby(sorted(own, key=lambda one: one.frame), lambda one: one.frame):
            shot = film.shot(frame)
            first, stop = max(frame - CONTEXT, shot.start), min(frame + CONTEXT + 1, shot.stop)
            read = [picture.astype(np.float32) / 255 for picture in film.frames[first:stop]]
            if is_unsteady(np.stack(film.frames[shot.start : shot.stop])):
                read = [state.source for state in Deflicker().run(number_frames(read))]
            for label in here:
                at, around = crop_of(label, read[0].shape)
                low, high = max(frame - AHEAD, first), min(frame + AHEAD + 1, stop)
                start, end = max(low - 4, first), min(high + 4, stop)
                cut = np.stack([read[t - first][around] for t in range(start, end)])
                seen = what_is_seen(cut, range(low - start, high - start), "fine", MARGIN)
                yield with_shipped(net, seen) | {"label": label, "frame": frame - low, "at": at}


def filtered(item: dict, image: Tensor) -> Tensor:
    """Pictures (T, 3, H, W) after the temporal filter."""
    states = []
    for t, (picture, (noise, error)) in enumerate(zip(image, item["facts"], strict=True)):
        array, known = picture.permute(1, 2, 0).contiguous().numpy(), noise
        known = None if np.isnan(noise) else noise
        state = FrameState(t, array, array, noise=known)
        share = filter_share(known, error)
        states.append(replace(state, noise_weight=noise_weight(known), filter_share=share))
    found = [state.image for state in TemporalFilter().run(states)]
    return torch.from_numpy(np.stack(found)).permute(0, 3, 1, 2)


def seen_by(item: dict, part: slice = slice(None)) -> dict[str, Tensor]:
    return {name: item[name][part].float()[None] for name in FIELDS}


def score_valid(shot: Shot, items: Iterator[dict]) -> None:
    rows: dict[str, list[dict[str, float]]] = {}
    apart: dict[int, list[float]] = {}
    for item in items:
        shown = shot(seen_by(item))
        pictures = {"shipped": item["image"].float(), "over a shot": shown.image[0]}
        pictures["before its states"] = shown.first[0]
        if item["preset"] == "film" and len(rows.get("film", [])) < PARTED:
            for warm, difference in parts(shot, item, shown.image[0]):
                apart.setdefault(warm, []).append(difference)
        rows.setdefault(item["preset"], []).append(scores(item, pictures))
    for preset, found in rows.items():
        usual = np.array([row[f"shipped, filter {FILTERS[0]}"] for row in found])
        for kind in found[0]:
            over = np.array([row[kind] for row in found]) - usual
            error = over.std(ddof=1) / len(over) ** 0.5
            print(
                f"{preset:5} {kind:36} {usual.mean() + over.mean():.3f} dB, over the filter "
                f"{over.mean():+.3f} +- {error:.3f}, {over.min():+.3f} to {over.max():+.3f}"
            )
    for warm, values in apart.items():
        print(
            f"{warm} frames of warm-up: at most {max(values):.2f}, median {np.median(values):.2f}"
        )
    price(shot, item)


def scores(item: dict, pictures: dict[str, Tensor]) -> dict[str, float]:
    """PSNR of pictures (T, 3, H, W), as they are and filtered."""
    clean, found = item["clean"].float(), {}
    for kind, image in pictures.items():
        found[kind] = decibels(squared(image, clean))
        for weight in FILTERS if kind in FILTERED else FILTERS[:1]:
            engine.HALF_WEIGHT = weight
            after = filtered(item, image.contiguous())
            found[f"{kind}, filter {weight}"] = decibels(squared(after, clean))
    return found


def parts(shot: Shot, item: dict, whole: Tensor) -> Iterator[tuple[int, float]]:
    """For each warm-up, how far a part is from the whole shot at its far end, in code values."""
    last = len(whole) - 1
    for warm in WARM_UPS:
        for at, part in ((0, slice(0, warm + 1)), (last, slice(last - warm, None))):
            cut = shot(seen_by(item, part)).image[0, 0 if at == 0 else -1]
            yield warm, float(255 * (cut - whole[at]).abs().max())


def price(over: Shot, item: dict) -> None:
    """CPU time of the network over a shot over that of the shipped one, each the least of three."""
    least = []
    for one in (fresh("alone").eval(), over):
        seconds = []
        for _ in range(3):
            begun = time.process_time()
            one(seen_by(item))
            seconds.append(time.process_time() - begun)
        least.append(min(seconds) / len(item["window"]))
    print(f"{least[1] / least[0]:.2f} of the CPU time, {least[0]:.3f} and {least[1]:.3f} s a frame")


def score_real(shot: Shot, items: Iterator[dict]) -> None:
    """How well labelled defects and real things are told apart, and how far both are moved."""
    rows: dict[str, list[tuple[str, bool, float, float]]] = {}
    for item in items:
        shown = shot(seen_by(item))
        pictures = {"shipped": item["image"].float(), "over a shot": shown.image[0]}
        pictures["before its states"] = shown.first[0]
        for kind, values in measured(pictures, item).items():
            own = item["label"].clip, item["label"].kind == "defect", *values
            rows.setdefault(kind, []).append(own)
    for kind, found in rows.items():
        clips, defect, moved, odds = (np.array(column) for column in zip(*found, strict=True))
        for film in ("all", *sorted(set(clips))):
            dirt, real = ((clips == film) | (film == "all")) & defect, None
            real = ((clips == film) | (film == "all")) & ~defect
            if dirt.any() and real.any():
                areas = [auc(values[dirt], values[real]) for values in (moved, odds)]
                print(
                    f"{kind:26} {film[:24]:24} {dirt.sum():4} {real.sum():4} AUC of moved, odds "
                    f"{areas[0]:.4f} {areas[1]:.4f}; moved {moved[dirt].mean():.3f} "
                    f"{moved[real].mean():.3f}"
                )
        if kind != "shipped":
            usual = np.array([row[2] for row in rows["shipped"]])
            over = (moved - usual)[~defect]
            error = over.std(ddof=1) / len(over) ** 0.5
            print(f"{kind}: real things moved by {over.mean():+.4f} +- {error:.4f} more")


def measured(pictures: dict[str, Tensor], item: dict) -> dict[str, tuple[float, float]]:
    """Share by which the label's region is moved and its log odds; nothing if none stands out."""
    frame, (left, top), (_, _, wide, high) = item["frame"], item["at"], item["label"].box
    count = len(item["window"])
    around = {t: stood_out(item, t) for t in range(frame - 1, frame + 2) if 0 <= t < count}
    here = around.pop(frame)
    box = np.s_[max(top, 0) : max(top + high, 0), max(left, 0) : max(left + wide, 0)]
    inside = here.labels[box]
    if not inside.any():
        return {}
    region = int(np.bincount(inside[inside > 0]).argmax())
    source, found = item["window"][frame, 0].float().permute(1, 2, 0).numpy(), {}
    for kind, images in pictures.items():
        seen = here.with_network(source, images[frame].permute(1, 2, 0).numpy())
        measures = seen.with_neighbours(around.values())
        found[kind] = float(measures.moved[region - 1]), float(log_odds(measures)[region - 1])
    return found


def stood_out(item: dict, t: int) -> Seen:
    """What stands out in a frame of a crop."""
    window = item["window"][t].float()
    luma = window.mean(1)
    apart = 255 * torch.stack([luma[0] - luma[2], luma[0] - luma[3]]).numpy()
    noise = item["facts"][t][0]
    known = UNKNOWN_NOISE if np.isnan(noise) else noise
    return Seen.before_network(window[0].permute(1, 2, 0).numpy(), apart, known)


def main() -> None:
    asked = argparse.ArgumentParser()
    asked.add_argument("what", choices=("valid", "real", "scores"))
    asked.add_argument("paths", nargs="+", type=Path)
    asked.add_argument("--every", type=int, default=2)
    given = asked.parse_args()
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    if given.what != "scores":
        folder, out = given.paths
        out.mkdir(parents=True, exist_ok=True)
        net = checkpoint.load(checkpoint.shipped("base")).to(memory_format=torch.channels_last)
        items = of_valid(net, folder)
        if given.what == "real":
            items = of_real(net, folder, given.every)
        with torch.inference_mode():
            for n, item in enumerate(items):
                short = {name: item[name].half() for name in ("window", "trust", "believed")}
                torch.save(item | short, out / f"{n:04}.pt")
        return
    kind, trained, *folders = given.paths
    shot = fresh(str(kind)).eval()
    if (weights := trained / f"{kind}.pt").exists():
        shot.load_state_dict(torch.load(weights, weights_only=True))
    with torch.inference_mode():
        for folder, score in zip(folders, (score_valid, score_real), strict=False):
            if folder.exists():
                paths = sorted(folder.glob("*.pt"))
                score(shot, (torch.load(path, weights_only=False) for path in paths))


if __name__ == "__main__":
    main()
