"""The page `docs/formats.md`, from the tables that the pipeline itself works with."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from pipeline.clip import scan
from pipeline.detect import blanking, interlacing, leader_and_bars, signal_range, telecine
from pipeline.media import formats
from pipeline.media.facts import FACTS
from pipeline.media.planes import DEPTHS, REFUSED, RELAID, SUBSAMPLING
from pipeline.media.profiles import FORMS, PCM
from pipeline.media.verify import SAME
from schemas.manifest import SEQUENCE_SUFFIXES
from schemas.policy import OPERATORS, load_policy
from schemas.recipe import INTERLACE
from schemas.recipe import PROFILES as RECIPE_PROFILES

INTRO = """# Formats

Generated from the tables in `pipeline/` that the code works with; do not edit by hand.

The master is FFV1 version 3 in Matroska, every frame alone, with a checksum in every slice, in the
source's own size, subsampling, bit depth and range. At strength 0 every sample is the source's.
What is not named here ends as `UNSUPPORTED_FORMAT`, with a sentence that says what it is.
"""
SEQUENCES = """
An image sequence is addressed by the pattern of its names, such as `scans/reel_%06d.dpx`
({suffixes}), and needs `expected_fps` in the manifest. Its checksum is that of its files one after
another, in the order of their numbers (`cat reel_*.dpx | sha256sum`). A missing number ends the
clip as `FRAME_COUNT`, with the numbers that are missing, unless `gaps = "allowed"` in the recipe or
the manifest: then every run of numbers is restored by itself, no context crosses a gap, time goes
on in it (the frame before it lasts as long), and the missing numbers are in the clip's row, the
file's tags and the PREMIS document.
"""
SCANS = """
- `frames`: each frame is one picture.
- `fields`: a frame holds two pictures of different instants. The fields of each parity are restored
  as a clip of their own and woven again, so that nothing of one field gets into the other.
- `hold`: the clip waits as `SCAN_DISAGREES` until `field_order` in the manifest says what it is.
  The output then declares that.

The measure compares the lines of one parity with the other's in the frames around, as FFmpeg's
`idet` does. `unknown` is a clip without motion, or too short. Where some frames are interlaced and
some are not, as in telecined film, the clip counts as interlaced from a fifth of them on.

`interlace` in the recipe, or for one clip in the manifest, says what becomes of fields:

{policies}

A conversion comes before everything else, so that cuts, the model and the measures see progressive
frames; the output declares `progressive`. Sound is not touched, and a timecode stays the source's,
counted at the source's rate. What was done is in the clip's row, the file's tags
(`RESTORATION_INTERLACE`) and the PREMIS document. A clip that does not allow what is asked for is
held as `INTERLACE_REFUSED`: deinterlacing a clip that is, or whose lines are, progressive; `ivtc`
without a steady cadence, where the rate varies, or where the cadence breaks, as edited video does.
`field_order` in the manifest settles what the scan is. Of a file that declares none, the output
declares the field order that its lines show.

The cadence is found by the repeated fields: {repeats} of them in step are needed, and no {stretch}
frames may hold more than {tolerated} that are out of step. Undoing it only sorts fields, so every
line is the source's own, in every pixel format; a film frame that has only one field in the clip is
left out. The deinterlacer keeps the lines of one field and makes the others; it does not take gray
of 9 to 14 bits nor 4:4:0 of more than 8.
"""
OF_FIELDS = {
    "keep": "restored apart and woven again; frames, rate and field order stay",
    "deinterlace": "a frame of every field, by FFmpeg's bwdif: twice the frames and the rate",
    "deinterlace-single": "a frame of every two fields, by FFmpeg's bwdif; frames and rate stay",
    "ivtc": "film of 24 frames out of telecined video of 30: four frames of every five",
}
LEFT = """Some frames are no picture. They are published as they are, each run as a shot of its own:

- `flat` ({flat} frames or more): black leader, and any other frame of one level.
- `bars` ({bars} or more): colour bars and steps, in rows of falling or rising luma.
- `slate` ({slate} or more): frames that stand still without any grain, on mostly even ground. A
  still picture with grain is restored, and so is a slate on noisy tape, unless it is `asked`.
- `asked`: the frames that the manifest names in `leave`, whatever they are.

A single black frame is damage. `left` in `tables/shots` says what was left, `frames_left` in
`tables/clips` how much of the clip; the measures of a clip are of its other frames.

Lines and columns at the edges that are no picture stay as they are, too: black bars and blanking
(at most {dark} of 255 in every frame), and among the first and last sixteenth of the lines those
that carry data, such as captions and timecode: whatever lies outside of a black line, or has
contrast that the line beside it does not share. They are measured over the whole clip, without
leader, bars and slates; `blanking` in `tables/clips` has the lines above and below and the columns
left and right. A clip of fewer than {frames} frames, or a dark one, has none.
"""
LEVELS = """
Only a declaration can be contradicted, and only that of YUV. `full` is measured where levels lie
beyond those of limited range at both ends, `limited` where they keep to 16-235 (in 8 bits) and
reach both. `hold` is `RANGE_DISAGREES`.
"""
STREAMS = {
    "sound": "kept, packet by packet",
    "subtitles": "kept; MP4 text becomes SubRip, without styles and positions",
    "attachments": "kept; a cover picture becomes an attachment",
    "tags": "kept, but for those about the source's container",
    "timestamps": "kept, rounded to Matroska's 1 ms; the exact ones are in the clip's `.json`",
    "other data": "dropped, and named in the clip's `.json`",
}

PROFILES = """
A recipe asks for more files than the master: `profiles = ["preservation", "access"]`. Each is
derived from the verified master, decoded again and compared with it frame by frame, read back, and
held to the policy of its profile; only then is the clip published, with all of its files or none.
What a file cannot hold is said in the list `derived` of the clip's `.json`, stream by stream.
"""
KEPT = """
Size, sample aspect, rotation, primaries, transfer curve, matrix, timestamps, timecode, chapters,
tags and languages are kept. Full range becomes limited, RGB becomes BT.709 (below 720 lines
BT.601), captions in SubRip become MP4 text; attachments and other captions are dropped.

MXF holds no chapters, captions and languages. It holds tags under names with `comment_` before
them, BT.601's transfer curve as BT.709's, which is the same, and sound cut, or filled with silence,
to the length of the picture. QuickTime has its own list of languages; those it lacks are dropped.

`PROFILE_REFUSED`, told by the survey before any work: MXF for interlaced pictures, less than
256x120, other rates than those of television, a rotation, or YUV below 720 lines without a matrix
(DNxHR would state BT.709); MP4 for odd sizes. `VFR_REFUSED`: MXF for a rate that varies.
"""
POLICIES = """
The rules of each profile lie in `schemas/policies/`, as TOML; results are in the record's
`policies`. `archive-restore policy FILE --policy NAME` checks any file by them, or by rules of your
own:

```toml
[[rule]]
name = "sound at 48 kHz"
field = "audio.rates"
operator = "all ="
expected = 48000
```

A field that a file does not have breaks every rule but `absent`.
"""


def formats_markdown() -> str:
    """The text of `docs/formats.md`."""
    carried = [f"`{depth}`" for depth in DEPTHS]
    pixels = [
        ("gray", "", ", ".join(carried), "kept"),
        ("YUV", ", ".join(":".join(name) for name in SUBSAMPLING), ", ".join(carried), "kept"),
        ("RGB, planar", "", ", ".join(carried), "kept"),
    ]
    again = [(f"`{name}`", f"`{planar}`") for name, (planar, _) in RELAID.items()]
    refused = [(why, _list(parts)) for why, parts in REFUSED.items()]
    parts = [
        INTRO,
        "## Containers\n", table(("container", "in FFmpeg's words"), _named(formats.CONTAINERS)),
        SEQUENCES.format(suffixes=", ".join(f"`.{suffix}`" for suffix in SEQUENCE_SUFFIXES)),
        "## Video codecs\n", table(("lossless", "decoders"), _named(formats.LOSSLESS)),
        "", table(("lossy", "decoders"), _named(formats.LOSSY)),
        "\n## Pixel formats\n",
        table(("samples", "subsampling", "bits", "in the output"), pixels),
        "\nBig-endian samples are swapped. Packed ones are laid out anew, each as it is:\n",
        table(("read", "written"), again),
        "\nRefused, because there is no plane to carry it in or the model cannot read it:\n",
        table(("what", "names that hold"), refused),
        "\n## Scan\n",
        _grid("declared \\ measured", scan.MEASURED, interlacing.TREATMENTS), _scans(),
        "## What is left alone\n", _left(),
        "## Range\n",
        _grid("declared \\ measured", signal_range.MEASURED, signal_range.VERDICTS), LEVELS,
        "## What else a file holds\n",
        table(("property", "in the output"), _properties()),
        "\nSound that Matroska cannot hold as it is ends the clip as `UNSUPPORTED_FORMAT`:\n",
        table(("kept", "refused"), [(_words(formats.SOUND), _words(formats.SOUND_REFUSED))]),
        "\n## Profiles\n", table(PROFILE_HEAD, _profiles()), PROFILES + KEPT,
        "## Policies\n", table(("profile", "rules"), _rules()), POLICIES,
        "Operators: " + _list(OPERATORS) + ".\n",
        table(("field", "what it is"), ((f"`{name}`", what) for name, what in FACTS.items())),
    ]  # fmt: skip
    return "\n".join(parts) + "\n"


def _scans() -> str:
    policies = [(f"`{name}`", OF_FIELDS[name]) for name in INTERLACE]
    return SCANS.format(
        policies=table(("policy", "fields are"), policies), repeats=telecine.LEAST_REPEATS,
        stretch=telecine.STRETCH, tolerated=telecine.TOLERATED,
    )  # fmt: skip


def _left() -> str:
    return LEFT.format(**leader_and_bars.KINDS, dark=blanking.DARK, frames=blanking.LEAST_FRAMES)


PROFILE_HEAD = ("profile", "file", "format", "sound", "interlaced", "varying rate", "least PSNR")


def _profiles() -> Iterator[tuple[str, ...]]:
    yield ("`preservation`", "`<clip>_rst.mkv`", "FFV1 in Matroska, always made", "copied",
           "kept", "kept", "lossless")  # fmt: skip
    for name, form in FORMS.items():
        rate = f" at {form.sound_rate} Hz" if form.sound_rate else ""
        kept = "PCM" if form.sound_kept == PCM else _list(form.sound_kept)
        sound = f"{kept}{rate} copied, other becomes `{form.sound_codec}`"
        yield (f"`{name}`", f"`<clip>_rst{form.suffix}`", f"{form.title}, `{form.pix_fmt}`",
               sound, form.interlaced, form.varying, f"{form.floor_db:.0f} dB")  # fmt: skip


def _rules() -> Iterator[tuple[str, str]]:
    for profile in RECIPE_PROFILES:
        yield f"`{profile}`", ", ".join(rule.name for rule in load_policy(profile))


def _properties() -> list[tuple[str, str]]:
    return [(text, "kept, and compared") for text in SAME.values()] + list(STREAMS.items())


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _named(names: Mapping[str, str]) -> list[tuple[str, str]]:
    return [(title, _words(listed)) for title, listed in names.items()]


def _words(listed: str) -> str:
    return _list(listed.split(","))


def _list(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _grid(corner: str, head: Sequence[str], rows: Mapping[str, Sequence[str]]) -> str:
    return table((corner, *head), [(name, *values) for name, values in rows.items()])
