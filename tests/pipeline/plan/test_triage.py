"""Triage: every shot is clean or damaged, and by what, before anything is restored."""

import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from jobs.cli import app
from jobs.commands.triage import _described
from models.damage.defects import dust, scratches
from pipeline import survey
from pipeline.clip.shards import Shot
from pipeline.media.rgb import read_rgb, write_rgb
from pipeline.plan import triage as plan_triage
from pipeline.plan.triage import marks_in, samples
from tests.support.media.scenes import sharp_scene

LENGTH = 24


def view(seed: int, tint: float = 0.8) -> np.ndarray:
    """A sharp panning scene in colour, (T, H, W, 3) float32."""
    frames = np.stack(sharp_scene(seed, LENGTH))[..., None].astype(np.float32)
    return frames * np.array([1, 1, tint], np.float32)


def told(folder: Path, clips: dict[str, np.ndarray], *more: dict[str, str]) -> tuple[int, Any]:
    """Exit code and clips by id of `triage --json`."""
    rows = list(more)
    for name, frames in clips.items():
        whole = np.clip(np.rint(frames), 0, 255).astype(np.uint8)
        write_rgb(folder / f"{name}.mkv", whole, Fraction(24))
        rows.append({"clip_id": name, "source_uri": str(folder / f"{name}.mkv")})
    manifest = folder / "m.jsonl"
    manifest.write_text("\n".join(json.dumps(row) for row in rows))
    result = CliRunner().invoke(app, ["triage", str(manifest), "--json"])
    answer = json.loads(result.stdout)
    assert answer["exit_code"] == result.exit_code
    return result.exit_code, {clip["clip_id"]: clip for clip in answer["clips"]}


def test_a_person_reads_the_first_and_the_last_frame_of_a_shot() -> None:
    shot = {"start": 24, "stop": 48, "seconds": 0.96, "kind": "clean", "damage": ["short"]}
    lines = _described({"clip_id": "reel", "kind": "clean", "shots": [shot]}).splitlines()
    assert lines[1].split("  ")[:2] == ["first frame", "last frame"]
    assert lines[3].split() == ["24", "47", "0.96", "clean", "short"]


def test_clean_and_scratched_shots_of_one_clip_are_told_apart(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    scratched = scratches(view(2), rng, lines=3, contrast=(70, 95), width_px=(2, 3))
    dirty = dust(view(3), rng, rate=30, radius_px=(3, 6))
    code, clips = told(tmp_path, {"reel": np.concatenate([view(1), scratched, dirty])})
    shots = clips["reel"]["shots"]
    assert code == 0
    assert [(s["start"], s["stop"], s["kind"]) for s in shots] == [
        (0, LENGTH, "clean"), (LENGTH, 2 * LENGTH, "damaged"), (2 * LENGTH, 3 * LENGTH, "damaged"),
    ]  # fmt: skip
    assert [s["seconds"] for s in shots] == [0, 1, 2]
    assert shots[0]["damage"] == []
    assert "scratches" in shots[1]["damage"]
    assert "dirt" in shots[2]["damage"] and "scratches" not in shots[2]["damage"]
    assert clips["reel"]["kind"] == "damaged"


def test_noise_leader_and_what_cannot_be_read(tmp_path: Path) -> None:
    rng = np.random.default_rng(6)
    noisy = view(1) + 20 * rng.standard_normal(view(1).shape)
    black = np.full_like(view(1), 16)
    missing = {"clip_id": "gone", "source_uri": str(tmp_path / "gone.mkv")}
    code, clips = told(tmp_path, {"noisy": np.concatenate([noisy, black])}, missing)
    assert code == 3
    assert (clips["gone"]["kind"], clips["gone"]["reason"]) == ("unknown", "NOT_FOUND")
    first, last = clips["noisy"]["shots"]
    assert first["kind"] == "damaged" and "noise" in first["damage"]
    assert (last["kind"], last["damage"]) == ("flat", [])


def test_the_source_of_a_clip_under_embargo_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = {"clip_id": "held", "source_uri": str(tmp_path / "reel.mkv")}
    held["embargo_until"] = "2999-01-01"
    touched: list[object] = []
    for module in (survey, plan_triage):
        monkeypatch.setattr(module, "fetched", lambda *a: touched.append(a), raising=False)
    monkeypatch.setattr(plan_triage, "survey_clip", lambda *a: touched.append(a))
    code, clips = told(tmp_path, {}, held)
    assert (code, touched) == (0, [])  # an embargo is not a fault
    assert clips["held"] == {
        "clip_id": "held",
        "kind": "held",
        "reason": "EMBARGOED",
        "sentence": "the manifest holds the clip until 2999-01-01",
    }
    result = CliRunner().invoke(app, ["triage", str(tmp_path / "m.jsonl")])
    assert result.stdout.startswith("held: held: EMBARGOED: the manifest holds the clip until")


def test_a_person_reads_a_table(tmp_path: Path) -> None:
    told(tmp_path, {"reel": view(1)})
    result = CliRunner().invoke(app, ["triage", str(tmp_path / "m.jsonl")])
    assert result.exit_code == 0
    assert result.stdout.splitlines()[0] == "reel: clean"
    assert result.stderr == "clip 1 of 1: reel\n"


def test_real_shots(tmp_path: Path, footage: Path) -> None:
    clean = np.stack(list(read_rgb(footage / "valid/derf_carphone_qcif.mp4", 0, LENGTH)))
    rng = np.random.default_rng(7)
    aged = scratches(clean.astype(np.float32), rng, lines=6, contrast=(80, 110))
    _, clips = told(tmp_path, {"clean": clean, "aged": aged})
    assert clips["clean"]["kind"] == "clean"
    assert "scratches" in clips["aged"]["damage"]


def test_marks_are_told_apart_by_their_shape() -> None:
    mask = np.zeros((100, 200), bool)
    mask[10:60, 20:22] = True  # upright
    mask[80:82, 50:110] = True  # level
    mask[20:24, 150:154] = True
    assert marks_in(mask) == (1, 1, 16 / mask.size)
    assert marks_in(np.zeros((100, 200), bool)) == (0, 0, 0)


@pytest.mark.parametrize(
    ("start", "stop", "wanted"),
    [
        (0, 1, [range(1)]),
        (7, 9, [range(7, 8), range(8, 9)]),
        (10, 40, [range(13, 18), range(23, 28), range(33, 38)]),
    ],
)
def test_samples_lie_within_the_shot(start: int, stop: int, wanted: list[range]) -> None:
    assert samples(Shot(start, stop)) == wanted
