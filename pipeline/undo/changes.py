"""The large files beside a master after a revert: its change map and its residual.

The change map is unchanged where the source's pixels were put back.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from pipeline.clip.box import Box
from pipeline.clip.frames import Probe
from pipeline.clip.result import Cell
from pipeline.detect.change_film import SUFFIX, ChangeWriter, join, maps
from pipeline.detect.change_map import SIDE, ChangeSums, Map
from pipeline.media.verify import plane_md5
from pipeline.proof.fixity import local_file
from pipeline.sources.fetch import fetched
from pipeline.undo.published import PublishedClip
from pipeline.undo.residual import SUFFIX as RESIDUAL
from pipeline.undo.residual import write_residual
from pipeline.undo.selection import Selection
from schemas.errors import ClipFault
from schemas.reasons import Reason
from schemas.recipe import Limits


class Beside(NamedTuple):
    """Files beside a new master, by their suffixes, and what the record says of them."""

    files: dict[str, Path]
    entries: dict[str, object]  # of the record
    shares: dict[str, Cell]  # of the change map: columns of tables/clips


def made_anew(found: PublishedClip, selection: Selection, master: Path, cache: Path) -> Beside:
    """The files that the clip has, for its new master, in the master's folder. Raises ClipFault.

    `cache` is the folder of sources on this machine.
    """
    survey, recipe, beside = found.survey, found.recipe, Beside({}, {}, {})
    if found.has(SUFFIX):
        out = master.with_name(f"{master.name}{SUFFIX}")
        with local_file(f"{found.uri}{SUFFIX}") as former:
            sums = reverted_map(former, selection, survey.probe, survey.pts, out, recipe.limits)
        beside.files[SUFFIX] = out
        beside.shares["share_changed"] = sums.share_changed
        beside.shares["share_repaired"] = sums.share_repaired
    if found.has(RESIDUAL):
        with fetched(survey.source_uri, cache) as source:
            residual = write_residual(source, master, survey, recipe)
        if residual is not None:
            beside.files[RESIDUAL] = residual.path
            beside.entries["residual"] = residual.entry
    return beside


def reverted_map(
    former: Path,
    selection: Selection,
    probe: Probe,
    pts: Sequence[int],
    out: Path,
    limits: Limits,
) -> ChangeSums:
    """Write the new map to `out` and return its sums. Raises `ClipFault`.

    A byte stands for 2 x 2 pixels. It stays where only a part of them was put back.
    """
    part, sums, sent = out.with_suffix(".part.mkv"), ChangeSums(), []
    with ChangeWriter(part, probe).closed() as writer:
        for number, found in enumerate(maps(former, limits)):
            inside = number in selection.frames
            new = cleared(found, selection.region, probe) if inside else found
            writer.write(new)
            sums.add(new)
            sent.append(plane_md5((new,)))
    join([part], probe, pts, out, limits)
    if [plane_md5((found,)) for found in maps(out, limits)] != sent or len(sent) != len(pts):
        raise ClipFault(Reason.VERIFY_MISMATCH, f"{out.name} differs from the map that was sent")
    return sums


def cleared(found: Map, region: Box | None, probe: Probe) -> Map:
    """The map of a frame without the bytes that lie in the region; None: without any."""
    new = found.copy()
    if region is None:
        new[:] = 0
        return new
    right, down = region.x + region.width, region.y + region.height
    stop_x = new.shape[1] if right == probe.width else right // SIDE
    stop_y = new.shape[0] if down == probe.height else down // SIDE
    new[-(-region.y // SIDE) : stop_y, -(-region.x // SIDE) : stop_x] = 0
    return new
