"""The commands revert, recover, compare and review: take a change back, show it, decide on it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from jobs.console import output
from jobs.console.options import Json, Out
from schemas.errors import ArchiveError

if TYPE_CHECKING:
    from pipeline.undo.revert import Reverted
    from pipeline.undo.review import Review


def revert(
    clip: Annotated[str, typer.Argument(help="clip_id of a published clip.")],
    out: Out,
    shot: Annotated[
        int | None, typer.Option(min=0, metavar="N", help="Only this shot, as in tables/shots.")
    ] = None,
    frames: Annotated[
        str | None,
        typer.Option(metavar="A:B", help="Only frames A to B, both included, counted from 0."),
    ] = None,
    region: Annotated[
        str | None,
        typer.Option(metavar="X,Y,W,H", help="Only this box of the picture, in pixels."),
    ] = None,
    by: Annotated[str, typer.Option(metavar="NAME", help="Who asks; default: the user.")] = "",
    note: Annotated[str, typer.Option(metavar="TEXT", help="Why, for the records.")] = "",
    release: Annotated[
        bool,
        typer.Option("--release", help="Only let the next run restore the clip again."),
    ] = False,
    as_json: Json = False,
) -> None:
    """Put the source's pixels back into a published clip, exactly.

    Puts back the whole clip, a shot, some frames or a box, in the restored file and in every file
    derived from it. All else stays as it is. The record, the PREMIS document, the audit log and the
    tables say what was put back, when and by whom. A box that would cut a colour sample is widened.
    Later runs do not restore the clip again, unless you release it.

    \b
    Example:
        archive-restore revert reel-0042 --out restored --frames 120:180 --region 300,80,64,48
    """
    from pipeline.undo.revert import revert_clip
    from pipeline.undo.review import release_clip
    from pipeline.undo.selection import Request

    if release:
        if (shot, frames, region) != (None, None, None):
            raise ArchiveError("--release takes the whole clip: leave out what to put back")
        release_clip(clip, out, by=by, note=note)
        text = f"{clip}: the next `archive-restore submit` restores it again"
        output.emit({"clip_id": clip, "released": True}) if as_json else output.say(text)
        return
    done = revert_clip(clip, out, Request.parse(shot, frames, region), by=by, note=note)
    output.emit(done.to_dict()) if as_json else output.say(_described(done))


def compare(
    clip: Annotated[str, typer.Argument(help="clip_id of a published clip.")],
    out: Out,
    to: Annotated[
        Path, typer.Option(metavar="FILE", help="New file: .mp4 (H.264) or .mkv (FFV1).")
    ],
    kind: Annotated[str, typer.Option(help="split, wipe or difference.")] = "split",
    factor: Annotated[
        int, typer.Option(min=1, max=64, help="How many times stronger a difference is shown.")
    ] = 4,
    frames: Annotated[
        str | None, typer.Option(metavar="A:B", help="Only frames A to B, both included.")
    ] = None,
    restricted: Annotated[
        bool, typer.Option("--restricted", help="Also for a clip of the access class restricted.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Write a film that shows what was changed in a clip.

    split: the source left of a line, the restored picture right of it. wipe: the line moves.
    difference: what was added to each sample, around grey. The film of the whole clip has its
    sound.

    \b
    Example:
        archive-restore compare reel-0042 --out restored --kind wipe --to reel-0042.mp4
    """
    from pipeline.undo.compare import KINDS, Comparison, write_film
    from pipeline.undo.selection import parse_range

    chosen = next((one for one in KINDS if one == kind), None)
    if chosen is None:
        raise ArchiveError(f"--kind {kind}: give one of {', '.join(KINDS)}")
    part = None if frames is None else parse_range(frames)
    count = write_film(clip, out, Comparison(chosen, part, factor, restricted), to)
    facts = {"clip_id": clip, "kind": kind, "file": str(to), "frames": count}
    if kind == "difference":
        facts["factor"] = factor
    if as_json:
        output.emit(facts)
        return
    more = f", shown {factor} times as strong" if kind == "difference" else ""
    output.say(f"{to}: {kind} of {output.grouped(count)} frames{more}")


def recover(
    clip: Annotated[str, typer.Argument(help="clip_id of a published clip.")],
    out: Out,
    to: Annotated[Path, typer.Option(metavar="FILE", help="New file: .mkv (FFV1).")],
    restricted: Annotated[
        bool, typer.Option("--restricted", help="Also for a clip of the access class restricted.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Write a source's pictures without the source.

    They come from the restored file and its residual. The recipe of the clip must have
    residual = true. Every frame is the source's, bit for bit, and that is checked. Sound and other
    streams are the restored file's.

    \b
    Example:
        archive-restore recover reel-0042 --out restored --to reel-0042-source.mkv
    """
    from pipeline.undo.residual import recover as recovered

    done = recovered(clip, out, to, restricted=restricted)
    facts = {"clip_id": clip, "file": str(to), "frames": done.frames,
             "source_planes_sha256": done.sha256}  # fmt: skip
    text = f"{to}: {output.grouped(done.frames)} frames, bit for bit those of the source"
    output.emit(facts) if as_json else output.say(text)


def review(
    out: Out,
    decision: Annotated[
        str | None, typer.Argument(help="accept, revert, rerun or question.")
    ] = None,
    clip: Annotated[str | None, typer.Argument(help="clip_id of a published clip.")] = None,
    by: Annotated[str, typer.Option(metavar="NAME", help="Who decides; default: the user.")] = "",
    note: Annotated[str, typer.Option(metavar="TEXT", help="Why, for the records.")] = "",
    region: Annotated[
        str, typer.Option(metavar="ID", help="One region, as `query --view suspects` names it.")
    ] = "",
    decisions: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Decisions that a page of the report has saved."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Record what a person decided about a clip, and do it.

    accept: the clip is right; it leaves the review queue. revert: the whole source is put back.
    rerun: the next submit restores the clip again. question: somebody else has to look; it needs a
    note. The tables, the record, the PREMIS document and the audit log say who decided what, and
    when. The last decision counts: accept also takes a rerun back. If access copies wait for a
    person, accept makes that of the clip, and every other decision deletes it. With --region,
    accept has the next submit repair one suspect, and revert puts one repaired region back.

    --decisions applies a file, after all its lines were checked. A line that was applied before is
    left alone, so the same file can be given again: `review --decisions decisions.jsonl --by NAME`.

    \b
    Example:
        archive-restore review accept reel-0042 --by "A. Curator" --out restored
    """
    if decisions is not None:
        if decision or clip or note or region:
            raise ArchiveError("--decisions takes all from its file: give --by and --out alone")
        _apply_file(decisions, out, by, as_json)
        return
    if decision is None or clip is None:
        raise ArchiveError("give a decision and a clip, or --decisions FILE")
    from pipeline.undo.review import review_clip

    done = review_clip(clip, out, decision, by=by, note=note, region=region)
    output.emit(done.to_dict()) if as_json else output.say(_reviewed(done, region))


def _apply_file(path: Path, out: str, by: str, as_json: bool) -> None:
    from jobs.console.progress import StepLines
    from pipeline.undo.decisions import apply_decisions

    done = apply_decisions(path, out, by=by, step=StepLines(as_json))
    new = [one for one in done if one.review is not None]
    if as_json:
        lines = [{"line": one.decision.line, **one.review.to_dict()} for one in new if one.review]
        output.emit({"applied": lines, "applied_before": len(done) - len(new)})
        return
    text = [_reviewed(one.review, one.decision.region) for one in new if one.review]
    text.append(f"{len(new)} decisions applied, {len(done) - len(new)} were applied before")
    output.say("\n".join(text))


def _reviewed(done: Review, region: str) -> str:
    from schemas.judgement import DECISIONS

    lines = [f"{done.clip_id}, {done.decision} by {done.by}: {DECISIONS[done.decision]}"]
    if region:
        lines = [f"{done.clip_id}, {done.decision} of region {region} by {done.by}"]
        lines += ["the next submit repairs it"] if done.decision == "accept" else []
    lines += [_described(done.put_back)] if done.put_back else []
    if done.access and not (done.put_back and done.put_back.access_deleted):
        lines.append(f"the access copy was {done.access}")
    return "\n".join(lines)


def _described(done: Reverted) -> str:
    what, chosen = f"{done.clip_id}, {done.selection}", done.selection
    lines = []
    if chosen.widened:
        lines.append(
            f"the box was widened from {chosen.asked} to {chosen.region}: colour has fewer samples"
        )
    if not done.frames:
        return "\n".join([*lines, f"{what}: these are the source's pixels already"])
    lines.append(f"{what}: source pixels put back in {output.grouped(done.frames)} frames")
    lines.append(f"{output.grouped(done.frames_changed)} frames of the clip differ from the source")
    if done.access_deleted:
        lines.append("the access copy was deleted; `review accept` makes that of the new version")
    return "\n".join([*lines, done.uri])
