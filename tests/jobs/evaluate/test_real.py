"""What stands out, what counts as repaired or harmed, and the shipped labels."""

import json
from collections import Counter
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from jobs.cli import app
from jobs.evaluate.real import benchmark, candidates, labels, sheets
from jobs.evaluate.real.classes import DEFECTS, REAL
from jobs.evaluate.real.film import Film
from jobs.evaluate.real.labels import Label
from jobs.evaluate.real.stand_out import LEAST
from jobs.evaluate.real.table import markdown, summarise
from pipeline.media.rgb import write_rgb
from schemas.errors import ArchiveError

SIZE = (96, 128)
SPECK = (60, 40, 5, 5)


def scene(count: int = 7, gains: tuple[float, ...] = ()) -> np.ndarray:
    """A pan of two pixels a frame over soft texture, (T, H, W, 3) uint8."""
    rng = np.random.default_rng(3)
    wide = rng.uniform(0, 255, (SIZE[0], SIZE[1] + 2 * count)).astype(np.float32)
    wide = 110 + 4 * (cv2.GaussianBlur(wide, (0, 0), 4) - 128)
    gains = gains or (1.0,) * count
    clip = np.stack([gains[i] * wide[:, 2 * i : 2 * i + SIZE[1]] for i in range(count)])
    return np.repeat(np.clip(clip, 0, 235)[..., None], 3, -1).astype(np.uint8)


def painted(clip: np.ndarray, frame: int, box: tuple[int, int, int, int], level: int) -> np.ndarray:
    x, y, width, height = box
    clip = clip.copy()
    clip[frame, y : y + height, x : x + width] = level
    return clip


def travelling(clip: np.ndarray) -> np.ndarray:
    """The clip with a bright square that moves 14 pixels a frame."""
    for at in range(len(clip)):
        clip = painted(clip, at, (18 + 14 * at, 50, 8, 8), 240)
    return clip


def film(clip: np.ndarray) -> Film:
    return Film("drawn.mkv", list(clip), [range(len(clip))])


def place(source: np.ndarray, restored: np.ndarray, box: object, name: str) -> benchmark.Place:
    label = Label("drawn.mkv", 3, box, name)  # type: ignore[arg-type]
    [found] = benchmark.measure(film(source), dict(enumerate(restored)), [label])
    return found


def test_a_speck_of_one_frame_stands_out_and_its_removal_is_a_repair() -> None:
    clean = scene()
    dirty = painted(clean, 3, SPECK, 245)
    repaired, left = place(dirty, clean, SPECK, "dust"), place(dirty, dirty, SPECK, "dust")
    assert repaired.stand_out > 60
    assert repaired.gone > 0.9
    assert left.gone == pytest.approx(0, abs=0.02)


def test_half_a_repair_is_none() -> None:
    clean = scene()
    dirty = painted(clean, 3, SPECK, 245)
    half = ((clean.astype(int) + dirty) // 2).astype(np.uint8)
    assert place(dirty, half, SPECK, "dust").gone == pytest.approx(0.5, abs=0.1)


def test_a_speck_stands_out_as_far_in_a_film_that_flickers() -> None:
    steady = painted(scene(), 3, SPECK, 245)
    unsteady = painted(scene(gains=(1, 0.8, 1.1, 0.9, 1.2, 0.8, 1)), 3, SPECK, 245)
    first, second = (place(clip, clip, SPECK, "dust").stand_out for clip in (steady, unsteady))
    assert second == pytest.approx(first, rel=0.15)


def test_a_place_without_a_defect_does_not_stand_out() -> None:
    clean = scene()
    assert place(clean, clean, SPECK, "dust").stand_out < LEAST


def test_a_square_that_travels_is_harmed_only_if_it_goes() -> None:
    empty = scene()
    source = travelling(empty)
    box = (58, 48, 12, 12)
    assert place(source, source, box, "debris").gone == pytest.approx(0, abs=0.02)
    erased = source.copy()
    erased[3] = empty[3]
    harmed = place(source, erased, box, "debris")
    assert harmed.stand_out > 60
    assert harmed.gone > 0.9
    assert place(source, empty, box, "debris").gone > 0.9  # gone from every frame


@pytest.mark.parametrize("name", ["scratch_standing", "rail"])
def test_a_standing_line_is_measured_against_what_lies_beside_it(name: str) -> None:
    clean = scene()
    lined = clean.copy()
    lined[:, 20:80, 70:72] = 230
    box = (67, 20, 8, 60)
    assert place(lined, clean, box, name).gone > 0.8
    assert place(lined, lined, box, name).gone == pytest.approx(0, abs=0.02)
    assert place(lined, lined, box, name).stand_out > 40


def test_candidates_hold_the_speck_and_the_frames_take_turns() -> None:
    clip = painted(scene(), 3, SPECK, 245)
    clip = painted(clip, 3, (20, 20, 6, 6), 250)
    clip = painted(clip, 2, (100, 70, 4, 4), 235)
    found = candidates.of_film(film(clip), range(len(clip)))
    at = [(one.frame, one.box) for one in found]
    assert any(frame == 3 and box[0] <= 60 and box[1] <= 40 for frame, box in at)
    assert {one.frame for one in candidates.chosen(found, 3)} >= {2, 3}
    assert candidates.chosen(found, 3) == candidates.chosen(found, 3)


def test_runs_spread_over_the_film_and_keep_clear_of_cuts() -> None:
    cut = Film("drawn.mkv", list(scene(30)), [range(15), range(15, 30)])
    found = candidates.runs(cut, count=2, length=14)
    assert {0, 14, 15, 29}.isdisjoint(found)
    assert found[0] == 1
    assert found[-1] == 28


def test_the_sheets_become_labels(tmp_path: Path) -> None:
    clip = painted(scene(), 3, SPECK, 245)
    found = candidates.of_film(film(clip), [3])
    files = sheets.write([film(clip)], found, tmp_path)
    assert [file.name for file in files] == ["sheet_00.png"]
    assert cv2.imread(str(files[0])).shape[1] == sheets.COLUMNS * (
        3 * sheets.SCALE * sheets.CROP_PX + sheets.GAP_PX
    )
    (tmp_path / "classes.csv").write_text("0,dust\n", encoding="utf-8")
    added = labels.from_sheets(tmp_path)
    assert added == [Label("drawn.mkv", 3, tuple(found[0].box), "dust")]
    labels.save([*added, *added], tmp_path / "labels.json")
    assert labels.load(tmp_path / "labels.json") == added


GOOD = {"clip": "a.mkv", "frame": 3, "box": [1, 2, 3, 4], "class": "dust", "kind": "defect"}


@pytest.mark.parametrize(
    "wrong",
    [
        {"class": "ghost"},
        {"kind": "real"},
        {"box": [1, 2, 3]},
        {"box": [1, 2, 0, 4]},
        {"frame": -1},
    ],
)
def test_a_wrong_label_is_named(wrong: dict[str, object]) -> None:
    assert labels.parsed(GOOD).kind == "defect"
    with pytest.raises(ArchiveError, match=r"a\.mkv|dust"):
        labels.parsed({**GOOD, **wrong})


def test_the_table_counts_by_class_by_film_and_over_all() -> None:
    rows = [
        {**GOOD, "size": "base", "gone": 0.6},
        {**GOOD, "size": "base", "gone": 0.59},
        {**GOOD, "class": "limb", "kind": "real", "size": "base", "gone": 0.5},
    ]
    found = summarise(rows)
    shares = {(row["by"], row["name"], row["kind"]): row["share"] for row in found}
    assert shares["class", "dust", "defect"] == 0.5
    assert shares["clip", "a.mkv", "real"] == 1
    assert shares["all", "all", "defect"] == 0.5
    assert "| a.mkv | 2 | 50 % | 1 | 100 % |" in markdown(found)


def test_stretches_hold_the_neighbours_and_end_at_cuts() -> None:
    cut = Film("a.mkv", list(scene(60)), [range(30), range(30, 60)])
    marks = [Label("a.mkv", at, SPECK, "dust") for at in (1, 3, 28, 31)]
    assert list(benchmark.stretches(cut, marks)) == [
        (range(30), range(5)),
        (range(30), range(27, 30)),
        (range(30, 60), range(30, 33)),
    ]


def test_the_shipped_labels_are_many_and_of_every_kind() -> None:
    kinds = Counter(label.kind for label in labels.load())
    assert kinds["defect"] >= 250
    assert kinds["real"] >= 200
    assert len({label.clip for label in labels.load()}) == 7
    assert {label.name for label in labels.load()} <= {*DEFECTS, *REAL}


def test_the_drawn_labels_are_apart_from_those_that_limits_were_chosen_on() -> None:
    drawn, known = labels.load(labels.DRAWN), labels.load()
    assert Counter(label.kind for label in drawn) == {"defect": 90, "real": 200}
    for one in drawn:
        x, y, width, height = one.box
        for other in known:
            left, top, wide, high = other.box
            apart = x >= left + wide or left >= x + width or y >= top + high or top >= y + height
            assert (one.clip, one.frame) != (other.clip, other.frame) or apart


@pytest.mark.slow
def test_the_shipped_labels_stand_out_of_the_films(footage: Path) -> None:
    for path, marks in benchmark.tasks_of(footage / "archive", labels.load()):
        read = Film.read(path)
        benchmark.check(read, marks)
        found = benchmark.measure(read, dict(enumerate(read.frames)), sorted(marks))
        assert [one.label for one in found if one.stand_out < LEAST] == []
        assert max(abs(one.gone) for one in found) < 1e-6


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    clip = painted(scene(), 3, SPECK, 245)
    write_rgb(tmp_path / "drawn.mkv", clip, Fraction(24))
    marks = [Label("drawn.mkv", 3, SPECK, "dust"), Label("drawn.mkv", 4, SPECK, "edge")]
    labels.save(marks, tmp_path / "labels.json")
    return tmp_path


def test_the_command_scores_a_folder(folder: Path) -> None:
    words = ["evaluate", "--real", str(folder), "--labels", str(folder / "labels.json")]
    words += ["--out", str(folder / "out"), "--size", "fast", "--json"]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output
    answer = json.loads(result.stdout)
    assert answer == json.loads((folder / "out" / "real.json").read_text(encoding="utf-8"))
    assert [row["places"] for row in answer["rows"] if row["by"] == "all"] == [1]
    assert answer["not_counted"] == 1  # nothing stands out where "edge" is
    assert answer["places"][0]["stand_out"] > 60


def test_a_folder_without_the_films_is_named(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["evaluate", "--real", str(tmp_path)])
    assert result.exit_code == 2
    assert "lacks films" in result.output


def test_clean_clips_and_real_films_exclude_each_other(tmp_path: Path) -> None:
    for words in (["evaluate"], ["evaluate", "a.mkv", "--real", str(tmp_path)]):
        assert CliRunner().invoke(app, words).exit_code == 2
