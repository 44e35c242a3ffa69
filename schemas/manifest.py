"""The columns of the manifest and the values that each column accepts.

A manifest is read as text. Every value is checked as text first and gets its type afterwards. A bad
value is therefore a fault with a row and a column, never a crash.
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
# A value in these columns overrides the recipe's setting of the same name.
OVERRIDES = ("interlace", "gaps")
# Columns that change the restored pictures of a clip.
DECISIVE = ("field_order", "expected_fps", "fill", "leave", "protect", *OVERRIDES)
SCAN_TYPES = ("progressive", "tff", "bff")
CHECKSUM_DIGITS = {"md5": 32, "sha256": 64}
PRIORITIES = range(-1000, 1001)
SEQUENCE_SUFFIXES = ("dpx", "tif", "tiff", "png")
# The name pattern of an image sequence: text before the number, its digits, text after it.
SEQUENCE = re.compile(rf"([^%]*)%0([1-9])d(\.(?:{'|'.join(SEQUENCE_SUFFIXES)}))", re.IGNORECASE)

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.,-]*:")  # the comma is for FFmpeg's subfile,,start,0:
_FILE_URI = re.compile(r"file://(localhost)?(?=/)")
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_SECRETS = re.compile(r"X-Amz-(Signature|Credential|Security-Token)=|AWSAccessKeyId=", re.I)
_SPECIAL_ROOTS = ("/dev/", "/proc/", "/sys/")
# Bucket names that are host names inside a network. Some stores use the bucket as a host name.
_HOST = re.compile(r"0x[0-9a-f]+|[0-9.]+|localhost|metadata|instance-data|.*\.(internal|local)")
# Characters that look like / \ : and that Unicode normalisation keeps.
_HOMOGLYPHS = "\u2044\u2215\u2571\u29f8\u29f5\u2216\u2572\u29f9\ua789\u2236"
_FORMULA = "=+-@"  # a spreadsheet reads a cell that starts with one of these as a formula
_MAX_URI_BYTES = 1024
_MAX_TEXT = 4096
_BOXES = r"\d{1,6}(,\d{1,6}){3}( \d{1,6}(,\d{1,6}){3}){0,63}"
_FRAMES = r"\d{1,8}(-\d{1,8})?( \d{1,8}(-\d{1,8})?){0,199}"
# Exact rates of decimals: television rates are multiples of 1000/1001.
_DECIMAL_RATES = {
    "23.976": Fraction(24000, 1001),
    "23.98": Fraction(24000, 1001),
    "29.97": Fraction(30000, 1001),
    "47.952": Fraction(48000, 1001),
    "59.94": Fraction(60000, 1001),
    "119.88": Fraction(120000, 1001),
}


class ValueRule(NamedTuple):
    """A test of a text, and the end of the sentence "the value ..." if the test fails."""

    accepts: Callable[[str], bool]
    sentence: str


@dataclass(frozen=True)
class ManifestColumn:
    """One column: description, example, rules, and its part of the JSON Schema (`schema`)."""

    description: str
    example: str
    rules: tuple[ValueRule, ...]
    schema: Mapping[str, object]
    required: bool = False
    plain: re.Pattern[str] | None = None  # what matches keeps all rules: saves most of their time

    def surely_accepts(self, text: str) -> bool:
        """Whether a text keeps every rule."""
        if self.plain is not None and self.plain.fullmatch(text):
            return True
        return all(rule.accepts(text) for rule in self.rules)


# ---- addresses -----------------------------------------------------------------------------------


def _harmless_characters(text: str) -> bool:
    """Return False for characters that are invisible or change the reading direction.

    These are control, format (bidirectional, zero width), surrogate and line separator characters,
    and letters and fillers without a glyph.
    """
    if any(c in "\u115f\u1160\u3164\uffa0\u2800\u034f" for c in text):
        return False
    return not any(unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp") for c in text)


def _harmless_address(text: str) -> bool:
    """Check the characters of an address, also after percent-decoding.

    The number pattern of an image sequence, `%06d`, is not percent-decoded.
    """
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
    """Return False for a `..` segment, also percent-encoded or in characters that become dots."""
    plain = unicodedata.normalize("NFKC", unquote(text))
    return ".." not in re.split(r"[/\\]", plain)


def _no_look_alikes(text: str) -> bool:
    """Return False for a character that looks like a separator or normalises to one."""
    plain = unicodedata.normalize("NFKC", text)
    if any(c in text for c in _HOMOGLYPHS):
        return False
    return all(plain.count(c) == text.count(c) for c in "/\\:%")


def _no_credentials(text: str) -> bool:
    authority = text.partition("://")[2].partition("/")[0]
    return "@" not in authority and not _SECRETS.search(text)


def _names_an_object(text: str) -> bool:
    """Return True for an s3:// address with a valid bucket and a key without empty segments."""
    if not text.startswith("s3://"):
        return True
    bucket, _, key = text[len("s3://") :].partition("/")
    host = bool(_HOST.fullmatch(bucket))  # an address such as 169.254.169.254
    plain = bool(_BUCKET.fullmatch(bucket)) and ".." not in bucket and not host
    return plain and bool(key) and "" not in key.split("/")


def _names_a_file(text: str) -> bool:
    """Return False for a folder, a device or a network share."""
    path = unquote(_FILE_URI.sub("", text))
    folder = path.endswith(("/", "/.")) or path == "."
    return (
        not folder
        and not path.startswith("//")
        and not (posixpath.normpath(path).startswith(_SPECIAL_ROOTS))
    )


URI_RULES = (
    ValueRule(lambda v: v == v.strip(), "begins or ends with a space"),
    ValueRule(
        lambda v: len(v.encode()) <= _MAX_URI_BYTES, f"is longer than {_MAX_URI_BYTES} bytes"
    ),
    ValueRule(_harmless_address, "contains a control or invisible character"),
    ValueRule(_no_formula, "starts like a spreadsheet formula; write ./ before it"),
    ValueRule(_no_backslash, "contains a backslash; separate folders with /"),
    ValueRule(
        _no_credentials, "contains credentials; remove them and use the AWS credential chain"
    ),
    ValueRule(
        _known_scheme,
        "has an unknown scheme; allowed are s3://bucket/key, file:///path and paths "
        "(write ./ before a file name with a colon)",
    ),
    ValueRule(_no_parent, "contains a `..` segment; write the full path"),
    ValueRule(_no_look_alikes, "contains a character that looks like / \\ : or %"),
    ValueRule(_names_an_object, "does not have the form s3://bucket/key"),
    ValueRule(_names_a_file, "is a folder, a device or a network share, not a file"),
)
# Most addresses of a manifest. A name starts with a letter or digit, so no segment is `..`.
_PLAIN_NAME = r"[A-Za-z0-9](?:[A-Za-z0-9._ -]*[A-Za-z0-9])?"
_PLAIN_URI = re.compile(
    rf"(?=.{{1,{_MAX_URI_BYTES}}}\Z)(?!/(?:dev|proc|sys)/)"
    r"(?:/|s3://(?!localhost/|metadata/|instance-data/)[a-z][a-z0-9-]{1,61}[a-z0-9]/)?"
    rf"{_PLAIN_NAME}(?:/{_PLAIN_NAME})*"
)


# ---- other values --------------------------------------------------------------------------------


def parse_rate(text: str) -> Fraction:
    """Return frames per second from `24`, `30000/1001` or a decimal. Raises ValueError."""
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
    """Return runs of frame numbers: `103-105 210` gives [103, 106) and [210, 211).

    Raises ValueError if the runs are not in order or touch each other.
    """
    if not re.fullmatch(_FRAMES, text, re.ASCII):
        raise ValueError(f"{text!r} has something that is not a frame number")
    runs: list[range] = []
    for part in text.split(" "):
        first, _, last = part.partition("-")
        run = range(int(first), int(last or first) + 1)
        if not run or (runs and run.start <= runs[-1].stop):
            raise ValueError(f"{text!r}: {part} does not come after the run before it")
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


def _one_of(*values: str) -> tuple[ValueRule, ...]:
    return (ValueRule(lambda v: v.lower() in values, f"is not one of {', '.join(values)}"),)


def _matches(pattern: str, sentence: str) -> tuple[ValueRule, ...]:
    compiled = re.compile(pattern)
    return (ValueRule(lambda v: bool(compiled.fullmatch(v)), sentence),)


def _is_text(text: str) -> bool:
    return len(text) <= _MAX_TEXT and _harmless_characters(re.sub(r"[\t\r\n]", " ", text))


_TEXT = (ValueRule(_is_text, f"contains control characters or more than {_MAX_TEXT} characters"),)
_TITLE = (*_TEXT, ValueRule(_no_formula, "starts like a spreadsheet formula (= + - @)"))
_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}"
_NAME_SENTENCE = "is not made of letters, digits, `.`, `_` and `-` (at most 64 characters)"
_STRING: dict[str, object] = {"type": "string"}

COLUMNS: dict[str, ManifestColumn] = {
    "clip_id": ManifestColumn(
        "Name of the clip. Two names must differ by more than upper and lower case. All output "
        "files of the clip start with it. Letters, digits, `.`, `_` and `-`, at most 128 "
        "characters, no `.` first.",
        "reel-0042",
        _matches(
            CLIP_ID,
            "is not made of letters, digits, `.`, `_` and `-` (at most 128 characters, no `.` "
            "first)",
        ),
        {"type": "string", "pattern": f"^{CLIP_ID}$"},
        required=True,
    ),
    "source_uri": ManifestColumn(
        "The source: s3://bucket/key, file:///path or a path. A relative path starts at the "
        "manifest's folder. For an image sequence give the name pattern: `scans/reel_%06d.dpx`.",
        "reels/0042.mkv",
        URI_RULES,
        {"type": "string", "minLength": 1, "maxLength": _MAX_URI_BYTES},
        required=True,
        plain=_PLAIN_URI,
    ),
    "checksum": ManifestColumn(
        "Checksum of the source in hexadecimal digits. It is checked before the source is decoded.",
        "9e107d9d372bb6826bd81d3542a419d6",
        _matches("[0-9A-Fa-f]+", "has characters that are not hexadecimal digits"),
        {"type": "string", "pattern": "^([0-9A-Fa-f]{32}|[0-9A-Fa-f]{64})$"},
    ),
    "checksum_algo": ManifestColumn(
        "`md5` or `sha256`. If it is empty, the length of the checksum decides.",
        "md5",
        _one_of(*CHECKSUM_DIGITS),
        {"enum": list(CHECKSUM_DIGITS)},
    ),
    "collection": ManifestColumn(
        "The collection of the clip. Reports group clips by it.", "newsreels", _TITLE, _STRING
    ),
    "recipe": ManifestColumn(
        "Name of the recipe for this clip. It overrides the recipe of the run.",
        "film",
        _matches(_NAME, _NAME_SENTENCE),
        {"type": "string", "pattern": f"^{_NAME}$"},
    ),
    "priority": ManifestColumn(
        f"Integer from {PRIORITIES[0]} to {PRIORITIES[-1]}. Higher starts first. The default is 0.",
        "10",
        (ValueRule(_is_priority, f"is not an integer from {PRIORITIES[0]} to {PRIORITIES[-1]}"),),
        {"type": "integer", "minimum": PRIORITIES[0], "maximum": PRIORITIES[-1]},
    ),
    "embargo_until": ManifestColumn(
        "Date, YYYY-MM-DD. The clip is held up to and including this day (UTC).",
        "2030-01-01",
        (ValueRule(_is_date, "is not a date such as 2030-01-31"),),
        {"type": "string", "format": "date"},
    ),
    "access_class": ManifestColumn(
        "Who may see the clip, such as `public`, `staff` or `restricted`. Reports show no picture "
        "of a `restricted` clip.",
        "public",
        _matches(_NAME, _NAME_SENTENCE),
        {"type": "string", "pattern": f"^{_NAME}$"},
    ),
    "field_order": ManifestColumn(
        "The true scan type, if the file declares a wrong one: `progressive`, `tff` (top field "
        "first) or `bff` (bottom field first).",
        "tff",
        _one_of(*SCAN_TYPES),
        {"enum": list(SCAN_TYPES)},
    ),
    "expected_fps": ManifestColumn(
        "Frames per second of an image sequence: an integer, a ratio or a decimal. Required for "
        "image sequences. A video file keeps its own rate.",
        "30000/1001",
        (ValueRule(_parses(parse_rate), "is not a frame rate such as 25, 30000/1001 or 29.97"),),
        {"type": ["string", "number"]},
    ),
    "interlace": ManifestColumn(
        "What to do with interlaced fields: `keep`, `deinterlace` (one frame for each field), "
        "`deinterlace-single` (one frame for each two fields) or `ivtc` (recover film frames from "
        "telecined video). It overrides the recipe's setting.",
        "ivtc",
        _one_of(*INTERLACE),
        {"enum": list(INTERLACE)},
    ),
    "gaps": ManifestColumn(
        "Missing numbers of an image sequence: `refused`, or `allowed` if some frames could not be "
        "scanned. It overrides the recipe's setting.",
        "allowed",
        _one_of(*GAPS),
        {"enum": list(GAPS)},
    ),
    "fill": ManifestColumn(
        "Lost or spoiled frames to interpolate from the frames around them. Frame numbers from 0 "
        "and ranges, in order. At most 8 frames in a row, never at the edge of a shot.",
        "103-105 210",
        (
            ValueRule(
                _parses(parse_frames),
                "is not a list of frame numbers in order, such as 103-105 210",
            ),
        ),
        {"type": "string", "pattern": f"^{_FRAMES}$"},
    ),
    "leave": ManifestColumn(
        "Frames to leave unchanged, such as a slate on noisy tape. Frame numbers from 0 and "
        "ranges, in order, counted in the published file.",
        "0-124",
        (
            ValueRule(
                _parses(parse_frames),
                "is not a list of frame numbers in order, such as 103-105 210",
            ),
        ),
        {"type": "string", "pattern": f"^{_FRAMES}$"},
    ),
    "protect": ManifestColumn(
        "Boxes of the picture to leave unchanged in all frames, such as a title or a face: x,y,w,h "
        "in pixels of the published file, from the top left corner.",
        "120,80,64,48",
        (
            ValueRule(
                lambda text: bool(re.fullmatch(_BOXES, text, re.ASCII)),
                "is not a list of boxes x,y,w,h, such as 120,80,64,48 0,400,720,76",
            ),
        ),
        {"type": "string", "pattern": f"^{_BOXES}$"},
    ),
    "notes": ManifestColumn(
        "Free text for your own use. It is in the clip's row of `tables/clips` and on its page "
        "of the report.",
        "splice at 00:03",
        _TEXT,
        _STRING,
    ),
    "reference_uri": ManifestColumn(
        "A clean reference of the clip, if one exists. It adds full-reference measures.",
        "clean/0042.mkv",
        URI_RULES,
        {"type": "string", "minLength": 1, "maxLength": _MAX_URI_BYTES},
        plain=_PLAIN_URI,
    ),
}

REQUIRED = tuple(name for name, column in COLUMNS.items() if column.required)
