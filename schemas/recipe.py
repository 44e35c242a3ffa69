"""The recipe: the frozen, hashed settings of a run.

A recipe file is TOML. It has the fields of `Recipe` at the top and the fields of `Limits` below
`[limits]`. A missing field keeps its default, or the value of the recipe that the file extends.
`extends` is a file in the same folder (`extends = "tape.toml"`) or a built-in name. The rules of
the verdict are tables below `[[rules]]`, or a file in the same folder (`rules = "strict.toml"`).

The digest of the recipe is part of the work key. If a recipe changes, its clips are restored again.
Rules judge a clip and canaries measure the model. Neither changes a clip, so they are not in the
digest.
"""

import hashlib
import json
import re
import tomllib
from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Literal, NamedTuple, cast

from schemas.errors import ArchiveError
from schemas.verdict_rules import Rules, load_rules, parse_rules, rules_toml

Model = Literal["fast", "base", "large"]
Profile = Literal["preservation", "mezzanine", "mezzanine-mxf", "access"]
Interlace = Literal["keep", "deinterlace", "deinterlace-single", "ivtc"]
Gaps = Literal["refused", "allowed"]
Suspects = Literal["leave", "scratches", "repair"]
Clean = Literal["leave", "restore"]
AccessCopies = Literal["always", "accepted"]
Table = dict[str, object]

MODELS: tuple[Model, ...] = ("fast", "base", "large")
# The first profile is always made. It is the verified master; the others are derived from it.
PROFILES: tuple[Profile, ...] = ("preservation", "mezzanine", "mezzanine-mxf", "access")
INTERLACE: tuple[Interlace, ...] = ("keep", "deinterlace", "deinterlace-single", "ivtc")
GAPS: tuple[Gaps, ...] = ("refused", "allowed")
SUSPECTS: tuple[Suspects, ...] = ("leave", "scratches", "repair")
CLEAN: tuple[Clean, ...] = ("leave", "restore")
ACCESS_COPIES: tuple[AccessCopies, ...] = ("always", "accepted")
# Slice counts that the FFV1 encoder accepts: columns x rows, with rows <= columns <= 2 x rows.
SLICES = (4, 6, 9, 12, 16, 20, 24, 30, 36, 42, 48)

# Settings that younger versions added. With their defaults they are not in the digest, so that a
# new version does not make every clip new work.
_LATER = ("access_copies", "access_label", "residual")
_MAX_LABEL = 40
_LABEL = re.compile(rf"|[\x21-\x7e][\x20-\x7e]{{0,{_MAX_LABEL - 1}}}")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_MAX_FILE_BYTES = 65536


@dataclass(frozen=True)
class Limits:
    """Limits of one decoder, against broken and hostile files."""

    max_pixels: int = 36_000_000  # width x height of one frame; an 8192x4320 frame has 35.4 million
    max_frames: int = 1_000_000  # about 11.6 hours at 24 frames per second
    wall_seconds: int = 7200  # seconds of one decoder, from start to end
    address_space_mb: int = 4096  # MiB of address space of the decoding process


@dataclass(frozen=True)
class Recipe:
    """All settings that change the restored picture, and the limits of the decoder."""

    name: str = "film"
    model: Model = "base"
    strength: float = 1.0  # 0 keeps the source, 1 gives the fully restored picture
    grain: float = 1.0  # share of the source's grain that stays, in repairs as well
    deflicker: bool = True  # correct the exposure of shots that flicker
    clean: Clean = "leave"  # `restore` also restores shots that are found clean
    # What may be real: `scratches` also repairs upright lines, `repair` all of it.
    suspects: Suspects = "leave"
    interlace: Interlace = "keep"  # for interlaced clips, see docs/formats.md
    gaps: Gaps = "refused"  # `allowed` accepts missing numbers in an image sequence
    shard_frames: int = 120  # longest shard, in frames
    profiles: tuple[Profile, ...] = PROFILES[:1]  # output files of a clip, see docs/formats.md
    access_copies: AccessCopies = "always"  # `accepted`: only of clips that a person accepted
    access_label: str = ""  # words drawn into access copies, see docs/marking.md
    residual: bool = False  # keep what gives the source's pictures back, see docs/provenance.md
    change_map: bool = False  # keep beside the master how much each pixel was changed, and why
    slices: int = 16  # slices of each FFV1 frame; each slice has a checksum
    # Share of the shots found clean on which damage is planted in memory, to measure the model.
    canaries: float = 0.0
    limits: Limits = field(default_factory=Limits)
    rules: Rules = ()  # of the verdict, in the place of built-in rules with the same name

    @cached_property
    def digest(self) -> str:
        """Return the SHA-256 of the canonical JSON: 64 hexadecimal digits."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()

    @property
    def access_waits(self) -> bool:
        """Whether access copies are made when a person accepts a clip, not before."""
        return self.access_copies == "accepted" and "access" in self.profiles

    def to_dict(self) -> dict[str, object]:
        """Return plain values with nested limits. `parse_recipe_table` is the inverse."""
        return {**asdict(self), "rules": [rule.to_dict() for rule in self.rules]}

    def to_json(self) -> str:
        """Return the canonical JSON of what decides the picture: sorted keys, no spaces."""
        table, defaults = self.to_dict(), Recipe().to_dict()
        del table["rules"], table["canaries"]
        for name in _LATER:
            if table[name] == defaults[name]:
                del table[name]
        return json.dumps(table, sort_keys=True, separators=(",", ":"))

    def to_toml(self, *, whole: bool = True) -> str:
        """Return the text of a recipe file. `load_recipe` reads it back to an equal recipe.

        Unless `whole`, the text has the name and the settings that are not the defaults.
        """
        table, defaults = self.to_dict(), Recipe().to_dict()
        del table["rules"]
        limits = cast(Table, table.pop("limits"))
        default_limits = cast(Table, defaults.pop("limits"))
        if not whole:
            named = {"name": table.pop("name")}
            table = named | {k: v for k, v in table.items() if v != defaults[k]}
            limits = {k: v for k, v in limits.items() if v != default_limits[k]}
        lines = [f"{key} = {json.dumps(value)}" for key, value in table.items()]
        if limits:
            lines += ["", "[limits]", *(f"{key} = {value}" for key, value in limits.items())]
        if self.rules:
            lines += ["", rules_toml(self.rules).rstrip()]
        return "\n".join(lines) + "\n"


RECIPES: dict[str, Recipe] = {
    recipe.name: recipe for recipe in (Recipe(), Recipe("clean", grain=0.0, suspects="scratches"))
}


class _Setting(NamedTuple):
    """The values that one field accepts: a test, and the words for an error."""

    accepts: Callable[[object], bool]
    allowed: str


def _integer(low: int, high: int) -> _Setting:
    return _Setting(
        lambda v: type(v) is int and low <= v <= high, f"an integer from {low} to {high}"
    )


def _one_of(*values: str | int) -> _Setting:
    kinds = {type(value) for value in values}
    return _Setting(
        lambda v: type(v) in kinds and v in values, "one of " + ", ".join(map(str, values))
    )


def _is_share(value: object) -> bool:
    return type(value) in (int, float) and 0 <= cast(float, value) <= 1


def _are_profiles(value: object) -> bool:
    return isinstance(value, list | tuple) and all(name in PROFILES for name in value)


_SETTINGS: dict[str, _Setting] = {
    "name": _Setting(
        lambda v: isinstance(v, str) and bool(_NAME.fullmatch(v)),
        "letters, digits, `.`, `_` and `-`, at most 64, starting with a letter or digit",
    ),
    "model": _one_of(*MODELS),
    "strength": _Setting(_is_share, "a number from 0 to 1"),
    "grain": _Setting(_is_share, "a number from 0 to 1"),
    "deflicker": _Setting(lambda v: type(v) is bool, "true or false"),
    "clean": _one_of(*CLEAN),
    "suspects": _one_of(*SUSPECTS),
    "interlace": _one_of(*INTERLACE),
    "gaps": _one_of(*GAPS),
    "shard_frames": _integer(2, 10_000),
    "profiles": _Setting(_are_profiles, "a list of " + ", ".join(PROFILES)),
    "access_copies": _one_of(*ACCESS_COPIES),
    "access_label": _Setting(
        lambda v: isinstance(v, str) and bool(_LABEL.fullmatch(v)),
        f"a text of at most {_MAX_LABEL} ASCII characters, without a space before it",
    ),
    "residual": _Setting(lambda v: type(v) is bool, "true or false"),
    "change_map": _Setting(lambda v: type(v) is bool, "true or false"),
    "slices": _one_of(*SLICES),
    "canaries": _Setting(_is_share, "a number from 0 to 1"),
    "limits": _Setting(lambda v: isinstance(v, Mapping), "a table"),
    "rules": _Setting(lambda v: True, ""),  # `parse_rules` finds their faults
    "limits.max_pixels": _integer(256, 2**28),
    "limits.max_frames": _integer(1, 2**31 - 1),
    "limits.wall_seconds": _integer(1, 7 * 24 * 3600),
    "limits.address_space_mb": _integer(512, 2**20),
}


def load_recipe(name_or_path: str | Path) -> Recipe:
    """Return the built-in recipe of that name, or the recipe of a TOML file and all it extends.

    Raises ArchiveError with the wrong value and the allowed values.
    """
    name = str(name_or_path)
    if name in RECIPES:
        return RECIPES[name]
    path = Path(name_or_path)
    if not path.is_file():
        known = ", ".join(RECIPES)
        raise ArchiveError(f"no recipe {name!r}: give a built-in name ({known}) or a TOML file")
    table = _inherited(path, ())
    return parse_recipe_table({**table, "name": table.get("name", path.stem)}, f"recipe {name}")


def _inherited(path: Path, heirs: tuple[Path, ...]) -> Table:
    """Return the table of a file, merged over the recipes it extends. `name` is not inherited."""
    where = f"recipe {path}"
    if path.resolve() in heirs:
        raise ArchiveError(f"{where}: the recipe extends itself; remove `extends`")
    table = _table(_text(path, where), where)
    if isinstance(rules := table.get("rules"), str):
        table["rules"] = [rule.to_dict() for rule in load_rules(path.parent / rules)]
    parent = table.pop("extends", None)
    if parent is None:
        return table
    if not isinstance(parent, str):
        raise ArchiveError(f"{where}: extends = {parent!r} is not a built-in name or a file")
    file = path.parent / (parent if parent.endswith(".toml") else f"{parent}.toml")
    if file.is_file() and not (parent in RECIPES and file.resolve() == path.resolve()):
        base = _inherited(file, (*heirs, path.resolve()))
    elif parent in RECIPES:
        base = RECIPES[parent].to_dict()
    else:
        known = ", ".join(RECIPES)
        raise ArchiveError(
            f"{where}: extends {parent!r}: neither a built-in name ({known}) nor the file {file}"
        )
    base.pop("name", None)
    limits = [t["limits"] for t in (base, table) if isinstance(t.get("limits"), Mapping)]
    merged = {key: value for one in limits for key, value in cast(Table, one).items()}
    return base | table | ({"limits": merged} if limits and len(limits) == 2 else {})


def _text(path: Path, where: str) -> str:
    try:
        if path.stat().st_size > _MAX_FILE_BYTES:
            raise ArchiveError(f"{where}: the file is larger than {_MAX_FILE_BYTES} bytes")
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ArchiveError(f"{where}: cannot be read: {error}") from error


def _table(text: str, where: str) -> Table:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ArchiveError(f"{where}: not TOML: {error}") from error


def parse_recipe(text: str, default_name: str = "custom", where: str = "recipe") -> Recipe:
    """Return the recipe in a TOML text. Errors start with `where`. Raises ArchiveError."""
    return parse_recipe_table({"name": default_name, **_table(text, where)}, where)


def parse_recipe_table(table: Mapping[str, object], where: str = "recipe") -> Recipe:
    """Return the recipe of a nested table. Raises ArchiveError with every wrong key and value."""
    limits = table.get("limits", {})
    faults = [fault for key, value in table.items() if (fault := _fault("", key, value))]
    rules, wrong = parse_rules(table.get("rules", ()))
    faults += wrong
    if isinstance(limits, Mapping):
        faults += [f for key, value in limits.items() if (f := _fault("limits.", key, value))]
    if faults:
        raise ArchiveError(f"{where}: " + "; ".join(faults))
    special = {"limits", "strength", "grain", "canaries", "profiles", "rules"}
    known = {item.name for item in fields(Recipe)} - special
    values = {key: table[key] for key in known & table.keys()}
    wanted = cast(Collection[str], table.get("profiles", ()))
    # one order, always with the master, so that equal lists have equal digests
    values["profiles"] = tuple(name for name in PROFILES if name in wanted or name == PROFILES[0])
    for name in ("strength", "grain", "canaries"):
        values[name] = float(cast(float, table.get(name, getattr(Recipe, name))))
    limits_table = cast(Mapping[str, int], limits)
    made = Recipe(**values, limits=Limits(**limits_table))  # type: ignore[arg-type]
    return replace(made, rules=rules)


def _fault(prefix: str, key: str, value: object) -> str | None:
    """Return the fault of one setting, or None. `prefix` selects the table: "" or "limits."."""
    known = [name.removeprefix(prefix) for name in _SETTINGS if name.startswith(prefix)]
    known = [name for name in known if "." not in name]
    if key not in known:
        return f"unknown key {prefix + key!r}; allowed: {', '.join(known)}"
    setting = _SETTINGS[prefix + key]
    if setting.accepts(value):
        return None
    return f"{prefix}{key} = {value!r} is not {setting.allowed}"
