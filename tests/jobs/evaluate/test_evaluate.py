"""Baselines keep frames in place, scores have their meaning, and one run writes every file."""

import json
import math
import time
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pyarrow.parquet as pq
import pytest

from jobs.evaluate import evaluate as module
from jobs.evaluate.baselines import BASELINES, Baseline, run_filters
from jobs.evaluate.evaluate import (
    Method,
    evaluate,
    evaluate_command,
    keep,
)
from jobs.evaluate.perceptual import perceptual, vmaf
from jobs.evaluate.results import (
    Crop,
    Evaluation,
    ScoredClip,
    contact_sheet,
    markdown,
    shortened,
    summarise,
    verdicts,
)
from jobs.evaluate.samples import Options, make_sample, one_shot
from jobs.evaluate.scores import bootstrap, psnr_of, score, timed
from models.damage.simulator import age
from pipeline.media.rgb import write_rgb
from schemas.errors import ArchiveError

SMALL = (48, 64)


def moving(count: int = 12, size: tuple[int, int] = SMALL, seed: int = 0) -> np.ndarray:
    """A pan over blurred noise, (T, H, W, 3) uint8."""
    rng = np.random.default_rng(seed)
    wide = rng.uniform(0, 255, (size[0], size[1] + 2 * count, 3)).astype(np.float32)
    wide = np.clip(128 + 4 * (cv2.GaussianBlur(wide, (0, 0), 3) - 128), 0, 255).astype(np.uint8)
    return np.stack([wide[:, 2 * i : 2 * i + size[1]] for i in range(count)])


def counting(count: int = 16) -> np.ndarray:
    """A white bar that stands at another place in every frame, (T, H, W, 3) uint8."""
    clip = np.full((count, *SMALL, 3), 60, np.uint8)
    for index in range(count):
        clip[index, 8:40, 3 * index + 2 : 3 * index + 8] = 220
    return clip


def nearest(clip: np.ndarray, truth: np.ndarray) -> list[int]:
    """The frame of the truth that each frame looks like."""
    errors = np.square(clip[:, None].astype(np.float32) - truth[None]).mean((2, 3, 4))
    return [int(index) for index in errors.argmin(1)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    clips = tmp_path / "clips"
    clips.mkdir()
    for index, name in enumerate(("a", "b")):
        write_rgb(clips / f"{name}.mkv", moving(8, seed=index), Fraction(24))
    return clips


def soften(clip: np.ndarray) -> np.ndarray:
    return np.stack([cv2.GaussianBlur(frame, (0, 0), 1) for frame in clip])


def shorten(clip: np.ndarray) -> np.ndarray:
    return clip[1:]


@pytest.mark.parametrize("name", BASELINES)
def test_baselines_keep_every_frame_in_its_place(name: str) -> None:
    clip, baseline = counting(), BASELINES[name]
    for strength in (baseline.strengths[0], baseline.strengths[-1]):
        assert nearest(baseline.run(clip, strength), clip) == list(range(len(clip)))


@pytest.mark.parametrize("name", [name for name, baseline in BASELINES.items() if baseline.single])
def test_baselines_clean_noise_at_some_strength(name: str) -> None:
    clip, baseline = moving(), BASELINES[name]
    damaged = age(clip, "g25", 1).frames
    best = max(psnr_of(baseline.run(damaged, strength), clip) for strength in baseline.strengths)
    assert best > psnr_of(damaged, clip) + 1


def test_a_filter_that_eats_the_ends_is_given_a_margin() -> None:
    clip = counting()
    with pytest.raises(ArchiveError, match="returned 14 frames of 16"):
        run_filters(clip, "format=yuv444p,tmedian=radius=1")
    result = run_filters(clip, "format=yuv444p,tmedian=radius=1", margin=1)
    assert result.shape == clip.shape


def test_an_unknown_filter_is_reported_with_what_ffmpeg_says() -> None:
    with pytest.raises(ArchiveError, match="no_such_filter"):
        run_filters(counting(3), "no_such_filter")


def test_frames_pass_unchanged_through_the_pipes() -> None:
    clip = moving()[:, :45, :51]  # odd sizes too
    assert np.array_equal(run_filters(clip, "null"), clip)


def test_scores_of_known_errors() -> None:
    truth = np.full((6, *SMALL, 3), 100, np.uint8)
    brighter = truth + np.array([0, 4, 0, 4, 0, 4], np.uint8)[:, None, None, None]
    masks = {"dust": np.zeros(truth.shape[:3], bool), "scratch": np.zeros(truth.shape[:3], bool)}
    masks["dust"][:, :4, :4] = True
    spotted = truth.copy()
    spotted[masks["dust"]] = 110
    pumping, spots = score(brighter, truth, masks), score(spotted, truth, masks)
    assert pumping["td"] == pytest.approx(4)
    assert pumping["fl"] == pytest.approx(2)
    assert spots["td"] == spots["fl"] == 0
    assert spots["psnr_in_dust_db"] == pytest.approx(20 * math.log10(255 / 10))
    assert spots["psnr_outside_db"] == 100
    assert math.isnan(spots["psnr_in_scratch_db"])
    share = 16 / (SMALL[0] * SMALL[1])
    assert spots["psnr_db"] == pytest.approx(10 * math.log10(255**2 / (100 * share)))
    same = score(truth, truth, masks)
    assert (same["psnr_db"], same["ssim"]) == (100, pytest.approx(1))


def test_sharpness_tells_blur_from_noise() -> None:
    truth = moving()
    assert score(soften(truth), truth, {})["sharp"] < 0.9
    assert score(age(truth, "g25", 0).frames, truth, {})["sharp"] > 1.5


def test_vmaf_ranks_what_people_see() -> None:
    clip = moving(6, (96, 128))
    noise = np.random.default_rng(3).normal(0, 25, clip.shape)
    noisy = np.clip(clip + noise, 0, 255).astype(np.uint8)
    same, worse = (vmaf(one, clip) for one in (clip, noisy))
    assert same > 95 > worse + 10


def test_perceptual_scores_are_unknown_where_nothing_measures_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clip = moving(3)
    monkeypatch.setattr("jobs.evaluate.perceptual._has_vmaf", lambda: False)
    monkeypatch.setattr("jobs.evaluate.perceptual._cvvdp", lambda: None)
    assert all(map(math.isnan, perceptual(clip, clip).values()))
    calls = []

    class Metric:
        def predict(self, *clips: np.ndarray, **how: object) -> tuple[float, None]:
            calls.append((*clips, how))
            return 9.5, None

    monkeypatch.setattr("jobs.evaluate.perceptual._cvvdp", Metric)
    assert perceptual(clip, clip)["jod"] == 9.5
    assert calls[0][2] == {"dim_order": "FHWC", "frames_per_second": 24}


def test_several_sizes_are_told_apart(folder: Path, tmp_path: Path) -> None:
    given = {"data": [folder], "presets": ["g25"], "frames": 3, "methods": ["ours"]}
    answer = evaluate_command(**given, out=tmp_path / "two", sizes=("fast", "fast"))  # type: ignore[arg-type]
    methods = {row["method"] for row in answer["rows"]}  # type: ignore[index, attr-defined]
    assert methods == {"identity", "ours fast"}
    assert answer["verdicts"]["g25"]["gain_db"] > 0  # type: ignore[index]
    assert all(row["vmaf"] > 0 for row in answer["rows"])  # type: ignore[attr-defined]
    with pytest.raises(ArchiveError, match="--weights needs exactly one --size"):
        evaluate_command(
            **given, out=tmp_path / "x", sizes=("fast", "base"), weights=tmp_path / "w"
        )  # type: ignore[arg-type]


def test_bootstrap_brackets_the_mean_and_leaves_out_the_unknown() -> None:
    values = [1.0, 2.0, 3.0, 4.0, math.nan]
    interval = bootstrap(values)
    assert interval.low < interval.mean == 2.5 < interval.high
    assert bootstrap(values) == interval
    assert math.isnan(bootstrap([math.nan]).mean)


def spin(clip: np.ndarray) -> np.ndarray:
    until = time.process_time() + 0.2
    while time.process_time() < until:
        pass
    return clip


def test_cpu_seconds_count_this_process_and_its_children() -> None:
    clip = moving(12, (144, 176))
    assert 0.2 <= timed(spin, clip).cpu_seconds < 0.4
    assert timed(lambda c: BASELINES["nlmeans"].run(c, 4), clip).cpu_seconds > 0.1
    assert timed(keep, clip).cpu_seconds < 0.05


def test_frames_are_taken_from_one_shot() -> None:
    first, second = moving(8, seed=1), moving(30, seed=2)[:, ::-1]
    clip = [*first, *second]
    for count, start, length in ((4, 0, 4), (20, 8, 20), (64, 8, 30)):
        found, taken = one_shot(clip, count)
        assert (found, len(taken)) == (start, length)
        assert np.array_equal(taken[0], clip[start])
    with pytest.raises(ArchiveError, match="without a frame"):
        one_shot([], 4)


def test_ageing_depends_on_seed_and_clip_alone(folder: Path) -> None:
    once, again = (make_sample(folder / "a.mkv", "film", Options(8, 3)) for _ in range(2))
    other = make_sample(folder / "a.mkv", "film", Options(8, 4))
    assert np.array_equal(once.aged.frames, again.aged.frames)
    assert not np.array_equal(once.aged.frames, other.aged.frames)
    assert max(make_sample(folder / "a.mkv", "film", Options(8, 3, 32)).truth.shape[1:3]) == 32


def test_methods_see_the_damaged_clip_and_are_scored_against_the_truth(folder: Path) -> None:
    called: list[int] = []

    def spy(clip: np.ndarray) -> np.ndarray:
        called.append(len(clip))
        return soften(clip)

    baselines = {
        "hqdn3d": Baseline("hqdn3d", "hqdn3d={s}", (1, 12)),
        "two": Baseline("two", "hqdn3d={s},hqdn3d=2", (1, 12), single=False),
    }
    result = evaluate(
        [folder / "a.mkv", folder / "b.mkv"],
        ["g25", "clean"],
        Options(frames=6),
        baselines,
        [Method("ours", "ours", spy)],
    )
    assert called == [6] * 4
    rows = {(r["clip"], r["preset"], r["method"]): r for r in result.rows}
    assert len(rows) == 2 * 2 * 4
    assert 19 < rows["a", "g25", "identity"]["psnr_db"] < 21.5
    assert rows["a", "clean", "identity"]["psnr_db"] == 100
    assert rows["a", "g25", "hqdn3d"]["strength"] == 12
    assert rows["a", "clean", "hqdn3d"]["strength"] == 1
    assert rows["b", "g25", "ours"]["psnr_db"] > rows["b", "g25", "identity"]["psnr_db"] + 3
    assert json.loads(rows["a", "g25", "ours"]["damage"])["white_noise.sigma"] == 25
    verdict = verdicts(summarise(result.rows))["g25"]
    assert (verdict["best_filter"], verdict["best_chain"]) == ("hqdn3d", "two")
    assert verdict["gain_db"] > 3
    for family in ("filter", "chain"):
        above = verdict["gain_db"] - verdict[f"best_{family}_gain_db"]
        assert verdict[f"over_best_{family}_db"] == pytest.approx(above)


def test_a_method_that_loses_a_frame_is_an_error(folder: Path) -> None:
    bad = [Method("ours", "ours", shorten)]
    with pytest.raises(ArchiveError, match="ours"):
        evaluate([folder / "a.mkv"], ["clean"], Options(frames=4), {}, bad)


def test_the_command_leaves_rows_table_picture_and_json(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(module.BASELINES, "hqdn3d", Baseline("hqdn3d", "hqdn3d={s}", (4, 12)))
    answer = evaluate_command([folder], ["film"], 5, 1, tmp_path / "out", ["hqdn3d"], jobs=1)
    rows = pq.read_table(tmp_path / "out" / "scores.parquet").to_pylist()
    assert [(row["clip"], row["method"]) for row in rows] == [
        *(("a", "identity"), ("a", "hqdn3d")),
        *(("b", "identity"), ("b", "hqdn3d")),
    ]
    assert all(row["cpu_s_per_frame"] >= 0 for row in rows)
    assert json.loads((tmp_path / "out" / "evaluation.json").read_text()) == answer
    assert answer["markdown"] in (tmp_path / "out" / "table.md").read_text()
    assert "| hqdn3d | " in str(answer["markdown"])
    assert answer["verdicts"]["film"]["gain_db"] is None  # type: ignore[index]
    picture = cv2.imread(str(tmp_path / "out" / "sheet.png"))
    assert picture is not None
    assert picture.shape[0] > 2 * 48


@pytest.mark.slow
def test_parallel_clips_score_the_same(folder: Path, tmp_path: Path) -> None:
    arguments = ([folder], ["film"], 5, 1)
    scores = [
        evaluate_command(*arguments, tmp_path / str(jobs), ["hqdn3d"], jobs=jobs)["rows"]
        for jobs in (1, 2)
    ]
    for row in (*scores[0], *scores[1]):  # type: ignore[misc]
        del row["cpu_s_per_frame"]
    assert scores[0] == scores[1]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"methods": ["bm3d"]}, "unknown 'bm3d': give one of .*nlmeans"),
        ({"presets": ["wax"]}, "unknown 'wax': give one of .*film"),
        ({"frames": 0}, "--frames 0: give 1"),
        ({"data": [Path("nowhere")]}, "no such clip or folder: nowhere"),
    ],
)
def test_bad_requests_are_refused_before_anything_runs(
    change: dict[str, object], message: str, folder: Path, tmp_path: Path
) -> None:
    request = {"data": [folder], "out": tmp_path / "out", **change}
    with pytest.raises(ArchiveError, match=message):
        evaluate_command(**request)  # type: ignore[arg-type]
    assert not (tmp_path / "out").exists()


def test_the_tile_is_cut_where_the_damage_is() -> None:
    truth = np.full((4, 60, 80, 3), 90, np.uint8)
    damaged = truth + 20  # exposure alone does not attract it
    damaged[2, 40:44, 60:64] = 255
    tile = Crop.worst(damaged, truth, 16)
    assert tile.frame == 2
    assert tile.cut(damaged).shape == (16, 16, 3)
    assert (tile.cut(damaged) == 255).sum() == 16 * 3


def test_table_and_sheet_hold_what_was_run() -> None:
    rows = [
        {"clip": "a", "preset": "film", "method": method, "family": family, "strength": strength}
        | {"psnr_db": psnr, "ssim": 0.5, "psnr_in_dust_db": math.nan}
        for method, family, strength, psnr in (
            ("identity", "identity", None, 22.0),
            ("nlmeans", "filter", 6.0, 23.5),
            ("ours", "ours", None, 26.0),
        )
    ]
    text = markdown(summarise(rows))
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    assert [line.split(" | ")[0] for line in lines[2:]] == ["| identity", "| nlmeans", "| ours"]
    assert "4.00 (4.00 to 4.00)" in lines[4]
    assert "in dust" not in lines[0]
    picture = np.zeros((32, 32, 3), np.uint8)
    pictures = dict.fromkeys(("identity", "nlmeans", "ours", "truth"), picture)
    result = Evaluation([ScoredClip("a", "film", rows, pictures)], {})
    assert contact_sheet(result).shape == (32 + 2 * 16, 4 * (32 + 4), 3)


def test_a_label_that_does_not_fit_ends_in_dots() -> None:
    assert shortened("nlmeans", 192) == "nlmeans"
    cut = shortened("deflicker+removegrain+atadenoise+nlmeans", 192)
    assert cut.startswith("deflicker+removegrain") and cut.endswith("..")
    assert shortened("nlmeans", 4) == ""
