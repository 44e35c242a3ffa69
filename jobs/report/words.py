"""The words of the report, explained, and the commands that a reader may copy."""

from __future__ import annotations

import shlex

from jobs.console.html import Html, Part, join, tag
from jobs.report.decide import decide_form, deck
from jobs.report.entry import ReportEntry

WORDS = {
    "pass": "No rule found anything to look at.",
    "needs review": "A rule found something that a person should look at.",
    "fail": "A rule found a change that should not be there.",
    "accepted": "A person has looked at the clip and found it right.",
    "published": "The restored file is written, decoded again, compared and proved.",
    "untouched": "Every frame is the source's, bit for bit: nothing was found to repair.",
    "up to date": "An earlier run made the file, and nothing has changed since.",
    "held": "Nothing was done. A person, or a date, has to release the clip.",
    "quarantined": "The file is damaged or cannot be read; the source is left as it is.",
    "failed": "The program, the machine or the store failed; the next run tries again.",
    "shot": "The frames between two cuts.",
    "part (shard)": "A piece of a shot that one worker restores at once.",
    "defect": "Dirt, a scratch or a dropout: what the frames around it do not show.",
    "suspect": "A place that looks like a defect but may be a real thing. It was left.",
    "noise (sigma)": "Standard deviation of grain and noise, in code values of 0 to 255.",
    "flicker": "Fast variation of brightness, in percent.",
    "PSNR": "Distance of two pictures in decibels: the higher, the closer. 40 dB is hard to see.",
    "SSIM": "Likeness of two pictures in structure; 1 is the same.",
    "code value": "The number that a sample has in the file, on a scale of 0 to 255.",
    "recipe": "The settings of a restoration. Its digest (SHA-256) names them exactly.",
    "SHA-256": "A digest of a file: another file has another one.",
    "canary": "Damage that the program plants on a clean shot, in memory, to measure the model.",
    "access copy": "The small film for readers, beside the master.",
    "change map": "A picture of where, how much and why each pixel was changed.",
}


def words_section() -> Html:
    """The explanations, closed at first."""
    parts = [part for word, meaning in WORDS.items() for part in (tag("dt", word), _dd(meaning))]
    return tag(
        "section",
        tag("details", tag("summary", "What the words mean"), tag("dl", *parts), id="words"),
    )


def _dd(meaning: str) -> Html:
    return tag("dd", meaning)


def commands_section(entry: ReportEntry, out: str) -> Html | None:
    """Commands to decide on a published clip, to look closer, and to undo what was done."""
    if not entry.text("output_uri"):
        return None
    clip, where = shlex.quote(entry.clip_id), shlex.quote(out)
    who = f"--by NAME --out {where}"
    lines = [
        ("Accept the clip", f"review accept {clip} {who}"),
        ("Ask somebody else", f"review question {clip} --note TEXT {who}"),
        ("Restore it again in the next run", f"review rerun {clip} {who}"),
    ]
    if entry.text("frames_changed") != "0":
        lines.append(("Put the whole source back", f"review revert {clip} {who}"))
        if (repair := entry.number("largest_repair_frame")) is not None:
            at = int(repair)
            words = f"Put back frame {at}, with the largest repair"
            lines.append((words, f"revert {clip} --out {where} --frames {at}:{at}"))
        film = shlex.quote(f"{entry.clip_id}-compared.mkv")
        lines.append(
            ("Make a film, source and restored", f"compare {clip} --out {where} --to {film}")
        )
    lines.append(
        ("Check that the file is unchanged", f"verify {shlex.quote(entry.text('output_uri'))}")
    )
    rows: list[Part] = []
    for words, command in lines:
        code = tag("code", f"archive-restore {command}", tabindex=0)
        button = tag(
            "button",
            "Copy",
            type="button",
            aria_label=f"Copy: {words}",
            data_do="copy",
            hidden=True,
        )
        rows += [tag("dt", words), tag("dd", code, button)]
    commands = tag("dl", *rows, class_="commands")
    return join([tag("section", tag("h2", "Decide"), decide_form(entry), commands), deck(out)])
