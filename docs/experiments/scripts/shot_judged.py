"""Networks of shot_networks.py on held-out crops and at the labelled places of real film.

Run: python docs/experiments/scripts/shot_judged.py features valid BANK OUT
     python docs/experiments/scripts/shot_judged.py features real FILMS OUT
     python docs/experiments/scripts/shot_judged.py scores NETWORKS valid|real OUT

BANK is a validation bank of a training, FILMS the folder of the benchmark's films. The first two
write the features of the shipped network to OUT, the third reads them.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import json
import math
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import groupby
from pathlib import Path

import cv2
import numpy as np
import torch
from shot_features import aligned, features
from shot_networks import Shown, fresh
from torch import Tensor, nn

from jobs.evaluate.evaluate import is_unsteady
from jobs.evaluate.real.film import Film
from jobs.evaluate.real.labels import Label, load
from models.fidelity.change_bound import filter_share, noise_weight
from models.fidelity.damage_level import Nearest, noise_level
from models.fidelity.evidence import log_odds
from models.fidelity.regions import Seen
from models.frame_state import FrameState, number_frames
from models.motion.deflicker import Deflicker
from models.motion.temporal_filter import TemporalFilter
from models.network import checkpoint
from models.network.unet import RestorationNet
from models.training.dataset import DEFECT

EVERY = {"deepremaster_abomb_blast_effects.mp4": 1}  # labels that are judged; else every second
AHEAD = 3  # frames each side of a labelled one
SIDE, MARGIN = 192, 16  # pixels of a crop around a label, and around that for the flow
CONTEXT = 16  # frames read each side for the exposure
KINDS = "time", "alone", "wave"
FIELDS = "source", "y4", "image", "logits", "flow", "trust", "apart"
WARM_UPS = 1, 2, 4, 6, 8, 10  # frames
HARMED = 3, 6, 9, 12  # real things
UNKNOWN_NOISE = 3.0  # code values


def whole() -> RestorationNet:
    return checkpoint.load(checkpoint.shipped("base")).to(memory_format=torch.channels_last)


def packed(net: RestorationNet, frames: np.ndarray, wanted: range, margin: int) -> dict:
    """What a network of shot_networks.py needs of a shot, (T, ...), and the windows."""
    seen = aligned(frames, wanted, "fine", margin)
    fields = {name: value.half() for name, value in features(net, seen).items()}
    return fields | {
        "source": seen.window[:, 0].half(),
        "window": seen.window[:, [0, 2, 3]].half(),
        "believed": seen.trust[:, 1:3].half(),
        "flow": seen.flow,
        "trust": seen.believed,
        "apart": seen.apart,
    }


def of_valid(folder: Path) -> Iterator[dict]:
    """Every sequence of a validation bank."""
    net, index = whole(), json.loads((folder / "index.json").read_text())["sequences"]
    arrays = [np.load(folder / f"{name}.npy") for name in ("levelled", "clean", "mask")]
    for row, levelled, clean, mask in zip(index, *arrays, strict=True):
        frames = levelled.astype(np.float32) / 255
        yield packed(net, frames, range(len(frames)), 0) | {
            "preset": row["preset"],
            "clip": row["source"],
            "clean": torch.from_numpy(clean),
            "defects": torch.from_numpy(mask == DEFECT),
        }


def of_real(folder: Path) -> Iterator[dict]:
    """A crop around the labelled places: every EVERY-th one of a film."""
    net = whole()
    for name, labels in groupby(sorted(load(), key=lambda one: one.clip), lambda one: one.clip):
        own = list(labels)[:: EVERY.get(name, 2)]
        film = Film.read(folder / name)
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
                wanted = range(low - start, high - start)
                yield packed(net, cut, wanted, MARGIN) | {
                    "label": label,
                    "frame": frame - low,
                    "at": at,
                }


def crop_of(label: Label, shape: tuple[int, ...]) -> tuple[tuple[int, int], tuple[slice, slice]]:
    """Where the label's box begins in its crop without the margin, and the crop with it."""
    corner, around = [], []
    for start, length, whole_side in zip(label.box[:2], label.box[2:], shape[1::-1], strict=True):
        side = min(SIDE + 2 * MARGIN, whole_side)
        side -= (side - 2 * MARGIN) % 16
        left = int(np.clip(start + length // 2 - side // 2, 0, whole_side - side))
        corner.append(start - left - MARGIN)
        around.append(slice(left, left + side))
    return (corner[0], corner[1]), (around[1], around[0])


def trained(kind: str, folder: Path) -> nn.Module:
    layers = fresh(kind).eval()
    layers.load_state_dict(torch.load(folder / f"{kind}.pt", weights_only=True))
    return layers


def outputs(layers: dict[str, nn.Module], item: dict) -> dict[str, Shown]:
    """Pictures (T, 3, H, W) and log odds of a defect (T, H, W) by the shipped network and all."""
    seen = {name: item[name].float()[None] for name in FIELDS}
    shown = {"shipped": Shown(seen["image"], seen["logits"])}
    shown |= {kind: one(seen) for kind, one in layers.items()}
    return {kind: Shown(image[0], logits[0]) for kind, (image, logits) in shown.items()}


def score_valid(layers: dict[str, nn.Module], items: Iterable[dict]) -> None:
    """PSNR of pictures by preset, before and after the temporal filter, and the defect map."""
    rows: dict[tuple[str, str], list[list[float]]] = {}
    maps: dict[str, list[np.ndarray]] = {}
    apart: dict[int, list[float]] = {}
    for item in items:
        clean, defects = item["clean"].float(), item["defects"]
        shown = outputs(layers, item)
        for kind, (image, odds) in shown.items():
            square = squared(image, clean)
            inside = square[defects].mean() if defects.any() else torch.tensor(float("nan"))
            means = [decibels(square), decibels(squared(filtered(item, image), clean))]
            rows.setdefault((item["preset"], kind), []).append([*means, float(inside)])
            if item["preset"] == "film":
                maps.setdefault(kind, []).append(odds.numpy().ravel())
                if kind == "shipped":
                    maps.setdefault("truth", []).append(defects.numpy().ravel())
        for warm, value in parts(layers["time"], item, shown["time"]):
            apart.setdefault(warm, []).append(value)
    for (preset, kind), values in sorted(rows.items()):
        found = np.array(values)
        over = found - np.array(rows[preset, "alone"])
        errors = over.std(0, ddof=1) / len(over) ** 0.5
        dirt = 10 * np.log10(255**2 / np.nanmean(found[:, 2])) if preset == "film" else np.nan
        print(
            f"{preset:5} {kind:8} {found[:, 0].mean():.3f} dB, filtered {found[:, 1].mean():.3f}, "
            f"in defects {dirt:.2f}; over alone "
            f"{over[:, 0].mean():+.3f} +- {errors[0]:.3f} in {(over[:, 0] > 0).sum()} "
            f"of {len(over)}, filtered {over[:, 1].mean():+.3f} +- {errors[1]:.3f}"
        )
    for warm, values in apart.items():
        print(f"{warm} frames of warm-up: at most {255 * max(values):.2f} code values apart")
    truth = np.concatenate(maps.pop("truth"))
    for kind, values in maps.items():
        odds = np.concatenate(values)
        print(
            f"defect map {kind}: average precision {precision(odds, truth):.4f}, "
            f"log loss {np.logaddexp(0, np.where(truth, -odds, odds)).mean():.5f}"
        )


def parts(time: nn.Module, item: dict, whole_shot: Shown) -> Iterator[tuple[int, float]]:
    """For each warm-up, how far a part of a film is from the whole, at an end of the part."""
    if item["preset"] != "film":
        return
    seen = {name: value for name, value in item.items() if name in FIELDS}
    last = len(seen["source"]) - 1
    for warm in WARM_UPS:
        for frame, cut in ((0, slice(0, warm + 1)), (last, slice(last - warm, None))):
            part = time({name: value[cut].float()[None] for name, value in seen.items()})
            here = part.image[0, 0 if frame == 0 else -1]
            yield warm, float((here - whole_shot.image[frame]).abs().max())


def squared(image: Tensor, clean: Tensor) -> Tensor:
    """Square errors (T, H, W, 3) in code values of pictures (T, 3, H, W)."""
    return (image.clamp(0, 1).permute(0, 2, 3, 1) * 255 - clean).square()


def decibels(square: Tensor) -> float:
    """Mean PSNR of the frames."""
    each = 10 * torch.log10(255**2 / square.mean((1, 2, 3)).clamp_min(1e-3))
    return float(each.mean())


def filtered(item: dict, image: Tensor) -> Tensor:
    """Pictures (T, 3, H, W) after the temporal filter, as far as their noise asks for it."""
    states = []
    for t, picture in enumerate(image.permute(0, 2, 3, 1).contiguous().numpy()):
        known = noise_of(item, t)
        state = FrameState(t, picture, picture, noise=known)
        share = filter_share(known, 0.0)
        states.append(replace(state, noise_weight=noise_weight(known), filter_share=share))
    found = [state.image for state in TemporalFilter().run(states)]
    return torch.from_numpy(np.stack(found)).permute(0, 3, 1, 2)


def noise_of(item: dict, t: int) -> float | None:
    """Standard deviation of a frame's noise in code values, if it is known."""
    window, trust = item["window"][t].float(), item["believed"][t].float()
    five, four = window[[0, 1, 1, 2, 2]], trust[[0, 0, 1, 1]]
    level = float(noise_level(Nearest.of(five[None], four[None])))
    return None if math.isnan(level) else level


def precision(odds: np.ndarray, truth: np.ndarray) -> float:
    """Average precision of the order that odds give."""
    hit = truth[np.argsort(-odds, kind="stable")]
    return float((hit.cumsum() / np.arange(1, len(hit) + 1))[hit].mean())


def score_real(layers: dict[str, nn.Module], items: Iterable[dict]) -> None:
    """How well the labelled defects and real things of each film are told apart."""
    found: dict[str, list[tuple[str, bool, float, float, float]]] = {}
    for item in items:
        label = item["label"]
        for kind, values in measured(layers, item).items():
            found.setdefault(kind, []).append((label.clip, label.kind == "defect", *values))
    columns_of = {}
    for kind, rows in found.items():
        clip, defect, *columns = (np.array(column) for column in zip(*rows, strict=True))
        columns_of[kind], moved = columns, columns[0]
        for film in ("all", *sorted(set(clip))):
            own = (clip == film) | (film == "all")
            dirt, real = own & defect, own & ~defect
            if not dirt.any() or not real.any():
                continue
            areas = ", ".join(f"{auc(values[dirt], values[real]):.4f}" for values in columns)
            print(
                f"{kind:8} {film[:28]:28} {dirt.sum():4} {real.sum():4} AUC of moved, log odds, "
                f"head: {areas}; moved {moved[dirt].mean():.3f}, {moved[real].mean():.3f}"
            )
        real = np.sort(columns[1][~defect])[::-1]
        counts = [int((columns[1][defect] > real[n]).sum()) for n in HARMED]
        print(f"{kind}: defects above the threshold that harms {HARMED}: {counts}")
    dirt, real = np.flatnonzero(defect), np.flatnonzero(~defect)
    for one, other, column in (("time", "alone", 1), ("time", "alone", 0), ("wave", "shipped", 2)):
        rng, apart = np.random.default_rng(0), []
        for _ in range(1000):
            picks = rng.choice(dirt, len(dirt)), rng.choice(real, len(real))
            pair = (columns_of[kind][column] for kind in (one, other))
            high, low = (auc(*(values[part] for part in picks)) for values in pair)
            apart.append(high - low)
        name = ("moved", "log odds", "head")[column]
        print(f"AUC of {name}, {one} less {other}: 90 % in", np.quantile(apart, (0.05, 0.95)))


def auc(high: np.ndarray, low: np.ndarray) -> float:
    apart = high[:, None] - low[None]
    return float((apart > 0).mean() + 0.5 * (apart == 0).mean())


def measured(layers: dict[str, nn.Module], item: dict) -> dict[str, tuple[float, float, float]]:
    """Share by which the label's region is moved, its log odds, and the head's mean; or nothing."""
    frame, (left, top), (_, _, wide, high) = item["frame"], item["at"], item["label"].box
    if "seen" not in item:
        item["seen"] = {
            t: stood_out(item, t)
            for t in range(frame - 1, frame + 2)
            if 0 <= t < len(item["source"])
        }
    around = dict(item["seen"])
    here = around.pop(frame)
    box = np.s_[max(top, 0) : max(top + high, 0), max(left, 0) : max(left + wide, 0)]
    inside = here.labels[box]
    if not inside.any():
        return {}
    region = int(np.bincount(inside[inside > 0]).argmax())
    source, found = item["source"][frame].float().permute(1, 2, 0).numpy(), {}
    for kind, (image, logits) in outputs(layers, item).items():
        seen = here.with_network(source, image[frame].permute(1, 2, 0).numpy())
        measures = seen.with_neighbours(around.values())
        head = float(logits[frame].numpy()[here.labels == region].mean())
        found[kind] = float(measures.moved[region - 1]), float(log_odds(measures)[region - 1]), head
    return found


def stood_out(item: dict, t: int) -> Seen:
    """What stands out in a frame of a crop."""
    source, apart = (
        item["source"][t].float().permute(1, 2, 0).numpy(),
        255 * item["apart"][t].numpy(),
    )
    return Seen.before_network(source, apart, noise_of(item, t) or UNKNOWN_NOISE)


def main() -> None:
    asked = argparse.ArgumentParser()
    asked.add_argument("what", choices=("features", "scores"))
    asked.add_argument("paths", nargs="+")
    given = asked.parse_args()
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    if given.what == "features":
        of, folder, out = given.paths
        Path(out).mkdir(parents=True, exist_ok=True)
        for n, item in enumerate((of_valid if of == "valid" else of_real)(Path(folder))):
            torch.save(item, Path(out) / f"{n:04}.pt")
        return
    networks, of, folder = given.paths
    layers = {kind: trained(kind, Path(networks)) for kind in KINDS}
    items = (torch.load(path, weights_only=False) for path in sorted(Path(folder).glob("*.pt")))
    with torch.inference_mode():
        (score_valid if of == "valid" else score_real)(layers, items)


if __name__ == "__main__":
    main()
