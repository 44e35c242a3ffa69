"""The command submit: what it passes to the run, and what it prints."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pipeline.runs.events import Event
from schemas.recipe import load_recipe
from schemas.recipe_book import RecipeBook
from tests.support.command_line import SUMMARY, invoke


def test_submit_hands_over_and_passes_the_exit_code_on(flow: Any) -> None:
    seen: dict[str, Any] = {}

    def run(manifest: str, out: str, book: RecipeBook, **more: Any) -> dict[str, Any]:
        seen.update(
            manifest=manifest, out=out, recipe=book.default, address=more["executor"].address
        )
        return SUMMARY

    flow(run)
    result = invoke("submit", "m.csv", "--out", "restored")
    assert result.exit_code == 3
    assert seen == {
        "manifest": str(Path("m.csv").resolve()),  # workers have another working directory
        "out": str(Path("restored").resolve()),
        "recipe": load_recipe("film"),
        "address": None,
    }
    assert result.stdout.splitlines() == [
        "run 20260101T000000-abcdef: 2 published, 1 quarantined",
        "1234 frames in 1 min 40 s (12.34 frames/s)",
        "results in restored",
    ]


def test_what_a_stopped_run_has_left_is_told(flow: Any) -> None:
    flow(lambda *_, **__: SUMMARY | {"exit_code": 5, "left": 7})
    result = invoke("submit", "m.csv", "--out", "restored")
    assert result.exit_code == 5
    assert "stopped with 7 clips left: run it again to continue" in result.stdout


def test_addresses_in_a_store_stay_as_they_are(flow: Any) -> None:
    seen: list[str] = []

    def run(manifest: str, out: str, *_: object, **__: object) -> dict[str, Any]:
        seen.extend((manifest, out))
        return SUMMARY

    flow(run)
    invoke("submit", "s3://b/m.csv", "--out", "s3://b/out")
    assert seen == ["s3://b/m.csv", "s3://b/out"]


def test_with_json_stdout_is_the_summary_whatever_libraries_print(flow: Any) -> None:
    def noisy(*_: object, progress: Callable[[Event], None], **__: object) -> dict[str, Any]:
        print("a library speaks")  # noqa: T201
        progress(Event(kind="clip", clip_id="a", state="published", done=1, total=3))
        return SUMMARY

    flow(noisy)
    result = invoke("submit", "m.csv", "--out", "restored", "--json")
    assert json.loads(result.stdout) == SUMMARY
    assert "a library speaks" in result.stderr
    event = json.loads(result.stderr.splitlines()[-1])
    assert (event["kind"], event["clip_id"], event["state"]) == ("clip", "a", "published")
