"""The page `docs/formats.md`, from the tables that the pipeline uses."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from pipeline.clip import scan
from pipeline.detect import blanking, clean, interlacing, leader_and_bars, signal_range, telecine
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

Generated from the tables in `pipeline/` that the code uses; do not edit by hand.

The master is FFV1 version 3 in Matroska. Every frame is a key frame, and every slice has a
checksum. Size, subsampling, bit depth and range are those of the source. At strength 0 every sample
equals the source. A format that is not named here ends as `UNSUPPORTED_FORMAT`; the sentence names
the format.
"""
SEQUENCES = """
The address of an image sequence is the pattern of its names, such as `scans/reel_%06d.dpx`
({suffixes}). It needs `expected_fps` in the manifest. Its checksum is the checksum of its files in
the order of their numbers (`cat reel_*.dpx | sha256sum`).

If a number is missing, the clip ends as `FRAME_COUNT`, and the sentence lists the missing numbers.
With `gaps = "allowed"` in the recipe or the manifest, the clip is restored. Then each consecutive
run of numbers is restored separately, and no context crosses a gap. The frame before a gap lasts
until the gap ends. The missing numbers are in the clip's row, the file's tags and the PREMIS
document.
"""
SCAN_TYPES = """
- `frames`: each frame is one picture.
- `fields`: a frame holds two pictures of different instants. The fields of each parity are restored
  as a separate clip and then woven again, so that no field contains parts of the other.
- `hold`: the clip waits as `SCAN_DISAGREES` until `field_order` in the manifest states the scan
  type. The output then declares this scan type.

The detection compares the lines of one parity with those of the other in the neighbouring frames,
as FFmpeg's `idet` does. A clip without motion, or a very short one, is `unknown`. If only some
frames are interlaced, as in telecined film, the clip counts as interlaced from one fifth of the
frames on.

`interlace` in the recipe, or in the manifest for one clip, decides how fields are treated:

{policies}

A conversion runs before all other steps, so that cuts, the model and the measures see progressive
frames. The output declares `progressive`. Sound is not changed. A timecode stays as in the source,
counted at the rate of the source. The conversion is noted in the clip's row, the file's tags
(`RESTORATION_INTERLACE`) and the PREMIS document.

A clip that does not allow the conversion is held as `INTERLACE_REFUSED`. Deinterlacing is refused
if the clip is declared or measured as progressive. `ivtc` is refused without a steady cadence, if
the rate varies, or if the cadence breaks, as in edited video. `field_order` in the manifest decides
the scan type. If the file declares no field order, the output declares the order that its lines
show.

The cadence is found from repeated fields. {repeats} of them must be in step, and {stretch} frames
may hold at most {tolerated} that are out of step. Undoing the cadence only sorts fields, so every
line is a line of the source, in every pixel format. A film frame with only one field in the clip is
dropped. The deinterlacer keeps the lines of one field and makes the others. It does not accept gray
of 9 to 14 bits or 4:4:0 of more than 8 bits.
"""
FIELD_POLICIES = {
    "keep": "restored separately and woven again; frames, rate and field order stay",
    "deinterlace": "one frame from every field, by FFmpeg's bwdif: twice the frames and the rate",
    "deinterlace-single": "one frame from every two fields, by FFmpeg's bwdif; the rate stays",
    "ivtc": "24 film frames per second from 30 telecined frames: four of every five frames",
}
UNCHANGED = """\
Some frames hold no picture. They are published unchanged, each run of them as one shot:

- `flat` ({flat} frames or more): black leader, and other frames of one level.
- `bars` ({bars} frames or more): colour bars and steps, in rows of falling or rising luma.
- `slate` ({slate} frames or more): frames that stand still without grain, on a mostly even ground.
  A still picture with grain is restored. A slate on noisy tape is restored too, unless it is
  `asked`.
- `asked`: the frames that the manifest names in `leave`.
- `clean`: a shot of {clean} frames or more that shows no damage. This is measured: there are no
  specks, lines, flicker, noise or coding blocks, and detail is as fine as the frame can hold. A
  shot without colour and interlaced video are never called clean. Recipe key `clean = "restore"`
  restores clean shots too. In fast motion, dust looks like the picture, and a light copy
  for the web can pass for clean. A clip in which nothing was changed ends `untouched`: its file
  is made and verified like any other, and every frame in it is the source's.
- `like_clean`: a shot that the model has restored, whose clear repairs are few, or lie where much
  else stands out, as in clean film: dust falls everywhere. All of its repairs are undone.
- `rule`: a shot that a rule of the verdict has put back ([verdicts](metrics.md#verdicts)).

A single black frame is damage. `left` in `tables/shots` names the kind of the unchanged frames.
`frames_left` in `tables/clips` counts them, and `frames_clean` those of clean shots. `found` says
why a shot is not clean. The measures of a clip do not include unchanged frames.

Lines and columns at the edges without picture stay unchanged too. These are black bars and blanking
(at most {dark} of 255 in every frame), and lines with data, such as captions and timecode. Lines
with data are searched in the first and last sixteenth of the lines: a line outside of a black line,
or a line with contrast that the next line does not share. They are measured over the whole clip,
without leader, bars and slates. `blanking` in `tables/clips` holds the lines above and below and
the columns left and right. A clip of fewer than {frames} frames, or a dark clip, has none.
"""
LEVELS = """
The measured range matters only for YUV with a declared range. `full`: levels lie beyond the limited
range at both ends. `limited`: levels stay within 16-235 (in 8 bits) and reach both ends. `hold`
means that the clip is held as `RANGE_DISAGREES`.
"""
STREAMS = {
    "sound": "kept, packet by packet",
    "subtitles": "kept; MP4 text becomes SubRip, without styles and positions",
    "attachments": "kept; a cover picture becomes an attachment",
    "tags": "kept, except tags about the source's container",
    "timestamps": "kept, rounded to Matroska's 1 ms; the exact ones are in the clip's `.json`. If "
    "the file states the order of decoding only (AVI, old MP4), its timestamps are put into the "
    "order of presentation, and a message of the survey says so",
    "position and scale in a display matrix": "dropped; a matrix that distorts the picture is "
    "refused",
    "other data": "dropped; the clip's `.json` names it",
}

PROFILES = """
A recipe can request more files than the master: `profiles = ["preservation", "access"]`. Each file
is derived from the verified master. It is decoded again, compared with the master frame by frame,
and checked against the policy of its profile. Only then is the clip published, with all its files
or with none. The list `derived` in the clip's `.json` names each stream that a file cannot hold.
`access_copies = "accepted"` makes access copies when a person
[accepts the clip](provenance.md#accept-a-clip). `access_label` draws words into their pictures
([marking](marking.md)).
"""
KEPT = """
Size, sample aspect, rotation, mirroring, primaries, transfer curve, matrix, timestamps, timecode,
chapters, tags and languages are kept. Full range becomes limited, RGB becomes BT.709 (below 720
lines BT.601), captions in SubRip become MP4 text; attachments and other captions are dropped.

MXF holds no chapters, captions or languages. Its tags have names that begin with `comment_`. It
states the transfer curve of BT.601 as BT.709; the two are equal. Sound is cut, or filled with
silence, to the length of the picture. QuickTime has a fixed list of languages; others are dropped.

The survey ends a clip as `PROFILE_REFUSED`, before any work, in these cases. MXF: interlaced
pictures, pictures below 256x120, rates that television does not use, turned or mirrored pictures,
or YUV below 720 lines without a matrix (DNxHR would state BT.709). MP4: odd sizes. `VFR_REFUSED`:
MXF for a rate that varies.
"""
POLICIES = """
The rules of each profile are TOML files in `schemas/policies/`. The results are in `policies` of
the clip's record. `archive-restore policy FILE --policy NAME` checks any file against a profile or
against your own rules:

```toml
[[rule]]
name = "sound at 48 kHz"
field = "audio.rates"
operator = "all ="
expected = 48000
```

If a file does not have a field, every rule on the field fails, except `absent`.
"""


def formats_markdown() -> str:
    """Return the text of `docs/formats.md`."""
    carried = [f"`{depth}`" for depth in DEPTHS]
    pixels = [
        ("gray", "", ", ".join(carried), "kept"),
        ("YUV", ", ".join(":".join(name) for name in SUBSAMPLING), ", ".join(carried), "kept"),
        ("RGB, planar", "", ", ".join(carried), "kept"),
    ]
    packed = [(f"`{name}`", f"`{planar}`") for name, (planar, _) in RELAID.items()]
    refused = [(why, _list(parts)) for why, parts in REFUSED.items()]
    parts = [
        INTRO,
        "## Containers\n", table(("container", "name in FFmpeg"), _named(formats.CONTAINERS)),
        SEQUENCES.format(suffixes=", ".join(f"`.{suffix}`" for suffix in SEQUENCE_SUFFIXES)),
        "## Video codecs\n", table(("lossless", "decoders"), _named(formats.LOSSLESS)),
        "", table(("lossy", "decoders"), _named(formats.LOSSY)),
        "\n## Picture size\n",
        f"Each side has {formats.SMALLEST_SIDE} to {formats.LARGEST_SIDE} pixels. "
        "Another size ends as `UNSUPPORTED_FORMAT`.",
        "\n## Pixel formats\n",
        table(("samples", "subsampling", "bits", "in the output"), pixels),
        "\nBig-endian samples are swapped. Packed samples become planes with the same values:\n",
        table(("read", "written"), packed),
        "\nRefused, because no plane can hold it or the model cannot read it:\n",
        table(("reason", "part of the name"), refused),
        "\n## Scan type\n",
        _grid("declared \\ measured", scan.MEASURED, interlacing.TREATMENTS), _scan_types(),
        "## Frames and lines without picture\n", _unchanged(),
        "## Range\n",
        _grid("declared \\ measured", signal_range.MEASURED, signal_range.VERDICTS), LEVELS,
        "## Other streams and properties\n",
        table(("property", "in the output"), _properties()),
        "\nA clip with sound that Matroska cannot hold unchanged ends as `UNSUPPORTED_FORMAT`:\n",
        table(("kept", "refused"), [(_words(formats.SOUND), _words(formats.SOUND_REFUSED))]),
        "\n## Profiles\n", table(PROFILE_HEAD, _profiles()), PROFILES + KEPT,
        "## Policies\n", table(("profile", "rules"), _rules()), POLICIES,
        "Operators: " + _list(OPERATORS) + ".\n",
        table(("field", "meaning"), ((f"`{name}`", what) for name, what in FACTS.items())),
    ]  # fmt: skip
    return "\n".join(parts) + "\n"


def _scan_types() -> str:
    policies = [(f"`{name}`", FIELD_POLICIES[name]) for name in INTERLACE]
    return SCAN_TYPES.format(
        policies=table(("policy", "treatment of fields"), policies),
        repeats=telecine.LEAST_REPEATS,
        stretch=telecine.STRETCH,
        tolerated=telecine.TOLERATED,
    )


def _unchanged() -> str:
    return UNCHANGED.format(
        **leader_and_bars.KINDS,
        clean=clean.SHORTEST,
        dark=blanking.DARK,
        frames=blanking.LEAST_FRAMES,
    )


PROFILE_HEAD = ("profile", "file", "format", "sound", "interlaced", "varying rate", "least PSNR")


def _profiles() -> Iterator[tuple[str, ...]]:
    master = ("`preservation`", "`<clip>_rst.mkv`", "FFV1 in Matroska, always made")
    yield (*master, "copied", "kept", "kept", "lossless")
    for name, form in FORMS.items():
        rate = f" at {form.sound_rate} Hz" if form.sound_rate else ""
        kept = "PCM" if form.sound_kept == PCM else _list(form.sound_kept)
        sound = f"{kept}{rate} copied, other sound becomes `{form.sound_codec}`"
        file = (f"`{name}`", f"`<clip>_rst{form.suffix}`", f"{form.title}, `{form.pix_fmt}`")
        yield (*file, sound, form.interlaced, form.varying, f"{form.floor_db:.0f} dB")


def _rules() -> Iterator[tuple[str, str]]:
    for profile in RECIPE_PROFILES:
        yield f"`{profile}`", ", ".join(rule.name for rule in load_policy(profile))


def _properties() -> list[tuple[str, str]]:
    return [(text, "kept, and compared") for text in SAME.values()] + list(STREAMS.items())


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table."""
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
