"""The residual of a clip: what, added to the restored pictures, gives those of the source, exactly.

Each sample is source minus restored plus half of the range, modulo the range, so that the file has
the pixel format of the master and most of it is near the middle. It is FFV1 in Matroska. `recover`
needs the master and the residual, not the source, and proves what it makes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from pipeline.clip.clip import WITHOUT_PICTURES
from pipeline.clip.frames import Plane, Planes
from pipeline.clip.survey import Survey
from pipeline.media.decoder import Decoder
from pipeline.media.faults import mismatch
from pipeline.media.muxer import assemble
from pipeline.media.segments import SegmentWriter
from pipeline.proof.fixity import local_file
from pipeline.proof.record import listed
from pipeline.store import storage
from pipeline.store.private import temporary
from pipeline.undo.published import last_result, record_of
from schemas.errors import ArchiveError
from schemas.exit_codes import ExitCode
from schemas.reasons import Reason
from schemas.recipe import Recipe, parse_recipe_table

SUFFIX = ".residual.mkv"  # after the name of the master
TAGS = {"RESTORATION": "residual of a restored file: source minus restored; no picture to look at"}
RECOVERED = {"RECOVERED_FROM": "a restored file and its residual: the pictures of the source"}


class Digester(Protocol):
    """A running checksum, as those of `hashlib`."""

    def update(self, data: Any, /) -> None:  # noqa: ANN401 (any buffer)
        """Add bytes."""


@dataclass(frozen=True)
class Residual:
    """A verified residual. `sha256`: over the planes of all frames of the source, in order."""

    path: Path
    frames: int
    sha256: str

    @property
    def entry(self) -> dict[str, object]:
        """What the record of the clip says of it."""
        return {"file": self.path.name, "frames": self.frames, "source_planes_sha256": self.sha256}


@dataclass(frozen=True)
class Recovered:
    """A file with the pictures of a source."""

    clip_id: str
    file: Path
    frames: int
    sha256: str  # as in `Residual`


def has_none(survey: Survey) -> str:
    """Why a clip can have no residual: its frames are not the source's. Empty if it can."""
    if survey.conversion is not None:
        return "its fields were converted to frames"
    return f"frames {survey.filled} were made anew" if survey.fill else ""


def difference(source: Planes, restored: Planes, bits: int) -> Planes:
    """The residual of a frame."""
    return tuple(_modulo(a, b, bits, -1) for a, b in zip(source, restored, strict=True))


def added(restored: Planes, residual: Planes, bits: int) -> Planes:
    """The source's frame. The inverse of `difference`."""
    return tuple(_modulo(a, b, bits, 1) for a, b in zip(residual, restored, strict=True))


def _modulo(one: Plane, restored: Plane, bits: int, sign: int) -> Plane:
    value = one.astype(np.int32) + sign * restored.astype(np.int32) + (1 << (bits - 1))
    return (value & ((1 << bits) - 1)).astype(one.dtype)


def write_residual(source: Path, master: Path, survey: Survey, recipe: Recipe) -> Residual | None:
    """Write the residual beside the master and prove it; None if the clip can have none.

    The proof: master and residual are decoded, and their sums are the source's frames. Raises
    ClipFault; then the file does not exist.
    """
    if has_none(survey):
        return None
    limits, bits = recipe.limits, survey.probe.bit_depth
    out, part = Path(f"{master}{SUFFIX}"), Path(f"{master}.residual.part.mkv")
    wanted, found = hashlib.sha256(), hashlib.sha256()
    try:
        with (
            Decoder(source, limits) as before,
            Decoder(master, limits) as after,
            SegmentWriter(part, survey.probe, recipe.slices) as writer,
        ):
            for one, other in zip(before, after, strict=True):
                _add(wanted, one.planes)
                writer.write(difference(one.planes, other.planes, bits))
        assemble([part], part, survey.probe, survey.pts, out, TAGS, limits)
        with Decoder(master, limits) as restored, Decoder(out, limits) as residual:
            for one, other in zip(restored, residual, strict=True):
                _add(found, added(one.planes, other.planes, bits))
        if found.digest() != wanted.digest():
            raise mismatch(out.name, "with the restored file it does not give the source's frames")
    except BaseException:
        out.unlink(missing_ok=True)
        raise
    finally:
        part.unlink(missing_ok=True)
    return Residual(out, len(survey.pts), found.hexdigest())


def _add(digest: Digester, planes: Planes) -> None:
    for plane in planes:
        digest.update(np.ascontiguousarray(plane).data)


def recover(clip: str, out: str, to: Path, *, restricted: bool = False) -> Recovered:
    """Write the source's pictures to the FFV1 file `to`, from the master and its residual alone.

    Sound and all other streams are the master's, which carries the source's. `restricted`: also of
    a clip whose pictures do not leave the archive. Raises ArchiveError if the clip is not
    published, has no residual, or if a file differs from its record; then `to` does not exist.
    """
    if to.suffix != ".mkv" or to.exists() or not to.absolute().parent.is_dir():
        raise ArchiveError(f"--to {to}: give a new file that ends in .mkv, in a folder that exists")
    uri, _, record = record_of(clip, out)
    _refuse(clip, out, record, restricted)
    recipe = parse_recipe_table(record["recipe"], f"the record of {clip}")
    limits, pts = recipe.limits, list[int]()
    with (
        local_file(uri) as master,
        local_file(f"{uri}{SUFFIX}") as residual,
        temporary("recover-") as folder,
    ):
        for path, name in ((master, ""), (residual, SUFFIX)):
            _check(path, f"{uri}{name}", record)
        segment, made = Path(folder) / "segment.mkv", Path(folder) / "recovered.mkv"
        with Decoder(master, limits) as restored, Decoder(residual, limits) as rest:
            probe = restored.probe
            with SegmentWriter(segment, probe, recipe.slices) as writer:
                for one, other in zip(restored, rest, strict=True):
                    writer.write(added(one.planes, other.planes, probe.bit_depth))
                    pts.append(one.pts)
        dropped = tuple(record["tags"])
        assemble([segment], master, probe, pts, made, RECOVERED, limits, dropped=dropped)
        found = hashlib.sha256()
        with Decoder(made, limits) as decoder:
            for frame in decoder:
                _add(found, frame.planes)
        if found.hexdigest() != record["residual"]["source_planes_sha256"]:
            raise mismatch(to.name, "its frames are not the source's")
        storage.upload(made, to.absolute())
    return Recovered(clip, to, len(pts), found.hexdigest())


def _refuse(clip: str, out: str, record: Mapping[str, Any], restricted: bool) -> None:
    """Raise ArchiveError if nothing can, or may, be recovered."""
    if "residual" not in record:
        raise ArchiveError(
            f"{clip} has no residual: its recipe does not ask for one (`residual = true`), or its "
            "frames are not those of its source. `revert` puts source pixels back from the source"
        )
    last = last_result(clip, out)
    if last is not None and last.reason is Reason.EMBARGOED:
        raise ArchiveError(f"{clip} is under embargo: its source may not leave before that date")
    access = (last.columns if last else record["row"]).get("access_class")
    if access in WITHOUT_PICTURES and not restricted:
        raise ArchiveError(f"{clip} is {access}: its pictures may leave only with --restricted")


def _check(path: Path, uri: str, record: Mapping[str, Any]) -> None:
    name = uri.rpartition("/")[2]
    wanted = next((file.sha256 for file in listed(record) if file.name == name), None)
    if storage.sha256_file(path) != wanted:
        raise ArchiveError(
            f"{uri} differs from its record: run `verify`", exit_code=ExitCode.FAULTS
        )
