"""Learning curves: every measure of a log is drawn, where and as often as it was taken."""

import json
import math
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

import pytest

from jobs.training import curves
from schemas.errors import ArchiveError

SVG = "{http://www.w3.org/2000/svg}"
LOSSES, PRESETS = ("total", "pixel", "latent", "defects"), ("film", "tape", "in_defects")


def stage(start: str, steps: Iterable[int], psnr_every: int = 100) -> list[dict[str, object]]:
    """Rows as a training writes them, the losses halved every 100 steps."""
    rows: list[dict[str, object]] = [{"step": 0, "start_sha256": start}]
    for step in steps:
        losses = {name: (n + 1) * 0.5 ** (step / 100) for n, name in enumerate(LOSSES)}
        rows.append({"step": step, "cpu_s": 2.5 * step, **losses, "skipped": 0.0})
        if step % psnr_every == 0:
            rows.append({"step": step, **{f"psnr_{name}": 20 + step / 100 for name in PRESETS}})
    return rows


def text(rows: Iterable[dict[str, object]]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def written(folder: Path, log: str) -> Path:
    path = folder / "log.jsonl"
    path.write_text(log)
    return path


def drawn(folder: Path, log: str) -> ElementTree.Element:
    assert curves.write(written(folder, log)) == folder / "curves.svg"
    return ElementTree.parse(folder / "curves.svg").getroot()


def lines_of(svg: ElementTree.Element) -> dict[str, list[list[tuple[float, float]]]]:
    """The places of each named curve, a list for each stage."""
    found = {}
    for group in svg.iter(f"{SVG}g"):
        title = group.find(f"{SVG}title")
        if title is not None and title.text:
            found[title.text] = [
                [
                    (float(x), float(y))
                    for x, y in (p.split(",") for p in line.get("points").split())
                ]  # type: ignore[union-attr]
                for line in group.findall(f"{SVG}polyline")
            ]
    return found


def texts(svg: ElementTree.Element) -> list[str]:
    return [element.text or "" for element in svg.iter(f"{SVG}text")]


def boundaries(svg: ElementTree.Element) -> set[float]:
    return {float(e.attrib["x1"]) for e in svg.iter(f"{SVG}line") if e.get("class") == "stage"}


def test_every_loss_and_preset_is_drawn_with_a_point_for_each_row(tmp_path: Path) -> None:
    svg = drawn(tmp_path, text(stage("a", range(50, 401, 50))))
    counts = {name: [len(line) for line in lines] for name, lines in lines_of(svg).items()}
    losses = {name: [8] for name in LOSSES}
    assert counts == losses | {"film": [4], "tape": [4], "in defects": [4]}
    assert {*counts, "PSNR (dB)", "loss (no unit, log scale)"} <= set(texts(svg))
    assert not boundaries(svg) and "stage 1" not in texts(svg)


def test_values_are_to_scale_and_losses_on_a_log_scale(tmp_path: Path) -> None:
    found = lines_of(drawn(tmp_path, text(stage("a", range(50, 401, 50)))))
    for name, sign in (("total", 1), ("film", -1)):  # a picture's y goes down
        (line,) = found[name]
        rises = [sign * (b[1] - a[1]) for a, b in pairwise(line)]
        assert min(rises) > 5 and max(rises) - min(rises) < 0.3
    assert all(a[1] > b[1] for a, b in zip(found["total"][0], found["pixel"][0], strict=True))


def test_stages_lie_end_to_end_with_a_marked_boundary(tmp_path: Path) -> None:
    first, second = stage("a", range(50, 301, 50)), stage("b", range(50, 101, 50))
    svg = drawn(tmp_path, text([*first, *second]))
    one, two = lines_of(svg)["total"]
    (boundary,) = boundaries(svg)
    assert [len(one), len(two)] == [6, 2]
    assert one[-1][0] == boundary
    each = one[1][0] - one[0][0]
    assert two[0][0] == pytest.approx(boundary + each, abs=0.2)
    assert {"stage 1", "stage 2"} <= set(texts(svg))


def test_steps_done_again_are_drawn_once_as_they_were_done_last(tmp_path: Path) -> None:
    rows = stage("a", range(50, 251, 50))
    begun_twice = [*rows[:2], *rows]
    resumed_at_100 = [{"step": 150, "total": 1e-3}, {"step": 200, "total": 1e-3}]
    log = written(tmp_path, text([*begun_twice, *resumed_at_100]))
    (measured,) = curves.read(log)
    assert list(measured) == [50, 100, 150, 200]
    assert measured[100]["total"] == 0.5 and measured[150]["total"] == 1e-3


def test_torn_lines_are_passed_over(tmp_path: Path) -> None:
    rows = text(stage("a", range(50, 201, 50)))
    torn = '{"step": 250, "cpu_s": 625.0, "tot'
    last = lines_of(drawn(tmp_path, rows + torn))
    assert [len(line) for line in last["total"]] == [4]
    resumed = text(stage("a", (250, 300))[1:])  # its first row follows on the torn line
    assert [len(line) for line in lines_of(drawn(tmp_path, rows + torn + resumed))["total"]] == [5]


@pytest.mark.parametrize("log", ["", '{"step": 0, "elbo_bits_per_dim": 4.2}\n', "[1]\nnot JSON\n"])
def test_a_log_without_losses_is_named(tmp_path: Path, log: str) -> None:
    with pytest.raises(ArchiveError, match=r"log\.jsonl has no losses yet.*log_every"):
        curves.write(written(tmp_path, log))
    assert not (tmp_path / "curves.svg").exists()


def test_a_missing_log_is_named(tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match=r"no training log at .*log\.jsonl"):
        curves.write(tmp_path / "log.jsonl")


def test_without_validation_there_are_losses_alone(tmp_path: Path) -> None:
    whole = drawn(tmp_path, text(stage("a", range(50, 201, 50))))
    losses = drawn(tmp_path, text(stage("a", range(50, 201, 50), psnr_every=1000)))
    assert float(losses.attrib["height"]) == float(whole.attrib["height"]) / 2
    assert "PSNR (dB)" not in texts(losses)


def test_what_went_wrong_in_a_training_can_be_drawn(tmp_path: Path) -> None:
    """Losses that vanish, blow up or are no numbers, and no defects to validate in."""
    odd = [(50, 0.0), (100, 1e12), (150, math.nan), (200, math.inf), (250, 0.1)]
    rows: list[dict[str, object]] = [{"step": s, "total": v, "defects": 0.0} for s, v in odd]
    rows.append({"step": 250, "psnr_film": 30.0, "psnr_in_defects": None})
    svg = drawn(tmp_path, text(rows))
    assert {n: len(lines[0]) for n, lines in lines_of(svg).items()} == {
        "total": 3, "defects": 5, "film": 1
    }  # fmt: skip
    assert "nan" not in ElementTree.tostring(svg, "unicode")


@pytest.mark.parametrize("log", [True, False])
@pytest.mark.parametrize("span", [1e-4, 0.02, 0.5, 3, 9, 40])
@pytest.mark.parametrize("low", [-5.0, -1.3, 0.7])
def test_an_axis_has_few_ticks_within_its_range(low: float, span: float, log: bool) -> None:
    axis = curves.Axis("", "", log)
    ticks = axis.ticks(low, low + span)
    assert 2 <= len(ticks) <= curves.MOST_TICKS and ticks == sorted(ticks)
    assert all(low - 1e-9 <= axis.place(tick) <= low + span + 1e-9 for tick in ticks)
