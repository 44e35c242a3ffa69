"""The manifest's columns, and what each accepts.

A manifest is read as text; every value is checked as text and given its type after that, so a bad
value is a fault with a row and a column and never a crash.
"""

import posixpath
import re
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from fractions import Fraction
from typing import NamedTuple
from urllib.parse import unquote

from schemas.recipe import GAPS, INTERLACE

CLIP_ID = r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}"
# Columns whose value takes the place of the recipe's setting of that name.
OVERRIDES = ("interlace", "gaps")
# Columns that decide what is made of a clip's pictures.
DECISIVE = ("field_order", "expected_fps", "fill", "leave", *OVERRIDES)
FIELD_ORDERS = ("progressive", "tff", "bff")
CHECKSUM_DIGITS = {"md5": 32, "sha256": 64}
PRIORITIES = range(-1000, 1001)
SEQUENCE_SUFFIXES = ("dpx", "tif", "tiff", "png")
# The files of an image sequence: what is before the number, its digits, what is after.
SEQUENCE = re.compile(rf"([^%]*)%0([1-9])d(\.(?:{'|'.join(SEQUENCE_SUFFIXES)}))", re.IGNORECASE)

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.,-]*:")  # a comma: FFmpeg's subfile,,start,0:
_FILE_URI = re.compile(r"file://(localhost)?(?=/)")
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_SECRETS = re.compile(r"X-Amz-(Signature|Credential|Security-Token)=|AWSAccessKeyId=", re.I)
_SPECIAL_ROOTS = ("/dev/", "/proc/", "/sys/")
# Bucket names that name a host inside a network, where a store would be asked by its bucket's name.
_HOST = re.compile(r"0x[0-9a-f]+|[0-9.]+|localhost|metadata|instance-data|.*\.(internal|local)")
# Characters that look like / \ : and that no normalisation turns into them.
_HOMOGLYPHS = "\u2044\u2215\u2571\u29f8\u29f5\u2216\u2572\u29f9\ua789\u2236"
_FORMULA = "=+-@"  # what a spreadsheet takes for a formula's beginning
_MAX_URI_BYTES = 1024
_MAX_TEXT = 4096
_FRAMES = r"\d{1,8}(-\d{1,8})?( \d{1,8}(-\d{1,8})?){0,199}"
# What a decimal stands for: television's rates are multiples of 1000/1001.
_DECIMAL_RATES = {
    "23.976": Fraction(24000, 1001),
    "23.98": Fraction(24000, 1001),
    "29.97": Fraction(30000, 1001),
    "47.952": Fraction(48000, 1001),
    "59.94": Fraction(60000, 1001),
    "119.88": Fraction(120000, 1001),
}


class Rule(NamedTuple):
    """A test of a text, and the end of the sentence "the value ..." for one that fails."""

    accepts: Callable[[str], bool]
    sentence: str


@dataclass(frozen=True)
class ManifestColumn:
    """One column: what it means, an example, its rules; `schema` is its part of the JSON Schema."""

    description: str
    example: str
    rules: tuple[Rule, ...]
    schema: Mapping[str, object]
    required: bool = False


# ---- addresses -----------------------------------------------------------------------------------


def _harmless_characters(text: str) -> bool:
    """No control, format (bidirectional, zero width), surrogate or line separator characters, nor
    letters and fillers that show nothing.
    """
    if any(c in "\u115f\u1160\u3164\uffa0\u2800\u034f" for c in text):
        return False
    return not any(unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp") for c in text)


def _harmless_address(text: str) -> bool:
    """The same, also percent-encoded; the number of a sequence's files, `%06d`, is no encoding."""
    plain = text if SEQUENCE.fullmatch(text) else unquote(text)
    return _harmless_characters(text) and _harmless_characters(plain)


def _no_backslash(text: str) -> bool:
    return "\\" not in unquote(text)


def _no_formula(text: str) -> bool:
    return not text.startswith(tuple(_FORMULA))


def _known_scheme(text: str) -> bool:
    scheme = _SCHEME.match(text)
    return scheme is None or text.startswith("s3://") or bool(_FILE_URI.match(text))


def _no_parent(text: str) -> bool:
    """No `..` segment, neither percent-encoded nor in characters that are compatible with dots."""
    plain = unicodedata.normalize("NFKC", unquote(text))
    return ".." not in re.split(r"[/\\]", plain)


def _no_look_alikes(text: str) -> bool:
    """No character that a normalisation would turn into a separator."""
    plain = unicodedata.normalize("NFKC", text)
    if any(c in text for c in _HOMOGLYPHS):
        return False
    return all(plain.count(c) == text.count(c) for c in "/\\:%")


def _no_credentials(text: str) -> bool:
    authority = text.partition("://")[2].partition("/")[0]
    return "@" not in authority and not _SECRETS.search(text)


def _names_an_object(text: str) -> bool:
    """An s3:// address has a valid bucket and a key without empty segments."""
    if not text.startswith("s3://"):
        return True
    bucket, _, key = text[len("s3://") :].partition("/")
    host = bool(_HOST.fullmatch(bucket))  # an address such as 169.254.169.254
    plain = bool(_BUCKET.fullmatch(bucket)) and ".." not in bucket and not host
    return plain and bool(key) and "" not in key.split("/")


def _names_a_file(text: str) -> bool:
    """A path is no folder, no device and no network share."""
    path = unquote(_FILE_URI.sub("", text))
    folder = path.endswith(("/", "/.")) or path == "."
    return (
        not folder
        and not path.startswith("//")
        and not (posixpath.normpath(path).startswith(_SPECIAL_ROOTS))
    )


URI_RULES = (
    Rule(lambda v: v == v.strip(), "begins or ends with a space"),
    Rule(lambda v: len(v.encode()) <= _MAX_URI_BYTES, f"is longer than {_MAX_URI_BYTES} bytes"),
    Rule(_harmless_address, "holds a control or invisible character"),
    Rule(_no_formula, "begins like a formula of a spreadsheet; write ./ before it"),
    Rule(_no_backslash, "holds a backslash; separate folders with /"),
    Rule(_no_credentials, "holds credentials; leave them to the AWS credential chain"),
    Rule(
        _known_scheme,
        "has a scheme that is not read; allowed are s3://bucket/key, file:///path and paths "
        "(write ./ before a file name with a colon)",
    ),
    Rule(_no_parent, "holds a `..` segment"),
    Rule(_no_look_alikes, "holds a character that looks like / \\ : or %"),
    Rule(_names_an_object, "is not of the form s3://bucket/key"),
    Rule(_names_a_file, "names a folder, a device or a network share, not a file"),
)


# ---- other values --------------------------------------------------------------------------------


def parse_rate(text: str) -> Fraction:
    """Return frames per second: `24`, `30000/1001` or a decimal. Raises ValueError."""
    if (short := text.rstrip("0")) in _DECIMAL_RATES:
        return _DECIMAL_RATES[short]
    if not re.fullmatch(r"\d{1,9}(/\d{1,9}|\.\d{1,3})?", text, re.ASCII):
        raise ValueError(f"{text!r} is not a frame rate")
    try:
        rate = Fraction(text)
    except ZeroDivisionError as error:
        raise ValueError(f"{text!r} is not a frame rate") from error
    if not 1 <= rate <= 1000:
        raise ValueError(f"{text!r} is not a frame rate")
    return rate


def parse_frames(text: str) -> list[range]:
    """Runs of frame numbers: `103-105 210` is [103, 106) and [210, 211). Raises ValueError unless
    they are in order and apart.
    """
    if not re.fullmatch(_FRAMES, text, re.ASCII):
        raise ValueError(f"{text!r} is not made of frame numbers")
    runs: list[range] = []
    for part in text.split(" "):
        first, _, last = part.partition("-")
        run = range(int(first), int(last or first) + 1)
        if not run or (runs and run.start <= runs[-1].stop):
            raise ValueError(f"{text!r}: {part} is not after what stands before it")
        runs.append(run)
    return runs


def _parses(parse: Callable[[str], object]) -> Callable[[str], bool]:
    def accepts(text: str) -> bool:
        try:
            parse(text)
        except ValueError:
            return False
        return True

    return accepts


def _is_date(text: str) -> bool:
    return bool(re.fullmatch(r"\d{4}-\d\d-\d\d", text, re.ASCII)) and _parses(date.fromisoformat)(
        text
    )


def _is_priority(text: str) -> bool:
    return bool(re.fullmatch(r"[+-]?\d{1,4}", text, re.ASCII)) and int(text) in PRIORITIES


def _one_of(*values: str) -> tuple[Rule, ...]:
    return (Rule(lambda v: v.lower() in values, f"is not one of {', '.join(values)}"),)


def _matches(pattern: str, sentence: str) -> tuple[Rule, ...]:
    compiled = re.compile(pattern)
    return (Rule(lambda v: bool(compiled.fullmatch(v)), sentence),)


def _is_text(text: str) -> bool:
    return len(text) <= _MAX_TEXT and _harmless_characters(re.sub(r"[\t\r\n]", " ", text))


_TEXT = (Rule(_is_text, f"holds control characters or more than {_MAX_TEXT} characters"),)
_TITLE = (*_TEXT, Rule(_no_formula, "begins like a formula of a spreadsheet (= + - @)"))
_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}"
_NAME_SENTENCE = "is not made of letters, digits, `.`, `_` and `-` (at most 64)"
_STRING: dict[str, object] = {"type": "string"}

COLUMNS: dict[str, ManifestColumn] = {
    "clip_id": ManifestColumn(
        "Name of the clip, unique in the manifest, also without regard to case; every output is "
        "named after it. Letters, digits, `.`, `_` and `-`, at most 128, not beginning with `.`.",
        "reel-0042",
        _matches(
            CLIP_ID, "is not made of letters, digits, `.`, `_` and `-`, at most 128, no `.` first"
        ),
        {"type": "string", "pattern": f"^{CLIP_ID}$"},
        required=True,
    ),
    "source_uri": ManifestColumn(
        "The source: s3://bucket/key, file:///path or a path; a relative one starts at the "
        "manifest's folder. An image sequence is named by its pattern: `scans/reel_%06d.dpx`.",
        "reels/0042.mkv",
        URI_RULES,
        {"type": "string", "minLength": 1, "maxLength": _MAX_URI_BYTES},
        required=True,
    ),
    "checksum": ManifestColumn(
        "Checksum of the source in hexadecimal digits, checked before anything is decoded.",
        "9e107d9d372bb6826bd81d3542a419d6",
        _matches("[0-9A-Fa-f]+", "is not made of hexadecimal digits"),
        {"type": "string", "pattern": "^([0-9A-Fa-f]{32}|[0-9A-Fa-f]{64})$"},
    ),
    "checksum_algo": ManifestColumn(
        "`md5` or `sha256`; without it the length of the checksum tells.",
        "md5",
        _one_of(*CHECKSUM_DIGITS),
        {"enum": list(CHECKSUM_DIGITS)},
    ),
    "collection": ManifestColumn(
        "The collection the clip belongs to; reports group by it.", "newsreels", _TITLE, _STRING
    ),
    "recipe": ManifestColumn(
        "Name of the recipe of this clip, in the place of the run's.",
        "film",
        _matches(_NAME, _NAME_SENTENCE),
        {"type": "string", "pattern": f"^{_NAME}$"},
    ),
    "priority": ManifestColumn(
        f"Integer from {PRIORITIES[0]} to {PRIORITIES[-1]}; higher goes first, 0 is the default.",
        "10",
        (Rule(_is_priority, f"is not an integer from {PRIORITIES[0]} to {PRIORITIES[-1]}"),),
        {"type": "integer", "minimum": PRIORITIES[0], "maximum": PRIORITIES[-1]},
    ),
    "embargo_until": ManifestColumn(
        "Date, YYYY-MM-DD, until which the clip is held.",
        "2030-01-01",
        (Rule(_is_date, "is not a date of the form YYYY-MM-DD"),),
        {"type": "string", "format": "date"},
    ),
    "access_class": ManifestColumn(
        "Who may see the clip, such as `public`, `staff` or `restricted`; of a `restricted` one "
        "reports show no picture.",
        "public",
        _matches(_NAME, _NAME_SENTENCE),
        {"type": "string", "pattern": f"^{_NAME}$"},
    ),
    "field_order": ManifestColumn(
        "What the scan really is, where the file is wrong: `progressive`, `tff` (top field first) "
        "or `bff`.",
        "tff",
        _one_of(*FIELD_ORDERS),
        {"enum": list(FIELD_ORDERS)},
    ),
    "expected_fps": ManifestColumn(
        "Frames per second of an image sequence: an integer, a ratio or a decimal. A file keeps "
        "the rate it states.",
        "30000/1001",
        (Rule(_parses(parse_rate), "is not a frame rate such as 25, 30000/1001 or 29.97"),),
        {"type": ["string", "number"]},
    ),
    "interlace": ManifestColumn(
        "What becomes of fields, in the place of the recipe's setting: `keep`, `deinterlace` (a "
        "frame of every field), `deinterlace-single` (a frame of every two) or `ivtc` (film out of "
        "telecined video).",
        "ivtc",
        _one_of(*INTERLACE),
        {"enum": list(INTERLACE)},
    ),
    "gaps": ManifestColumn(
        "Missing numbers of an image sequence, in the place of the recipe's setting: `refused`, or "
        "`allowed` where frames could not be scanned.",
        "allowed",
        _one_of(*GAPS),
        {"enum": list(GAPS)},
    ),
    "fill": ManifestColumn(
        "Frames that are lost or spoiled and are to be made anew from those around them: numbers, "
        "from 0, and ranges, in order. At most 8 in a row, none at the edge of a shot.",
        "103-105 210",
        (Rule(_parses(parse_frames), "is not frame numbers in order, such as 103-105 210"),),
        {"type": "string", "pattern": f"^{_FRAMES}$"},
    ),
    "leave": ManifestColumn(
        "Frames that are to be left as they are, such as a slate on noisy tape: numbers, from 0, "
        "and ranges, in order, counted as they are published.",
        "0-124",
        (Rule(_parses(parse_frames), "is not frame numbers in order, such as 103-105 210"),),
        {"type": "string", "pattern": f"^{_FRAMES}$"},
    ),
    "notes": ManifestColumn("Free text, kept with the clip.", "splice at 00:03", _TEXT, _STRING),
    "reference_uri": ManifestColumn(
        "A clean reference of the clip, where one exists: adds full-reference measures.",
        "clean/0042.mkv",
        URI_RULES,
        {"type": "string", "minLength": 1, "maxLength": _MAX_URI_BYTES},
    ),
}

REQUIRED = tuple(name for name, column in COLUMNS.items() if column.required)
