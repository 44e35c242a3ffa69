"""The commands package, verify, policy, sign and export: what is done with published files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jobs.console import output
from jobs.console.options import Json, Out
from schemas.errors import ArchiveError, ClipFault
from schemas.exit_codes import ExitCode

if TYPE_CHECKING:
    from pipeline.proof.fixity import Checked


def package(
    clips: Annotated[
        list[str], typer.Argument(metavar="CLIP", help="clip_id of a published clip.")
    ],
    out: Out,
    to: Annotated[
        Path,
        typer.Option(metavar="FOLDER", help="Folder for the bags: FOLDER/<clip> for each clip."),
    ],
    sha512: Annotated[
        bool, typer.Option("--sha512", help="Add SHA-512 checksums to the SHA-256 ones.")
    ] = False,
    with_source: Annotated[
        bool, typer.Option("--with-source", help="Add the source file to the bag.")
    ] = False,
    organization: Annotated[
        str, typer.Option(help="Text of Source-Organization in bag-info.txt.")
    ] = "",
    as_json: Json = False,
) -> None:
    """Pack published clips as BagIt bags for a repository.

    A bag (BagIt 1.0, RFC 8493) holds the restored file and its sidecar files. Every file is first
    compared with its record; a clip with a damaged file is not packed.

    \b
    Example:
        archive-restore package reel-0042 --out restored --to bags
    """
    from pipeline.proof.bag import Altered, BagOptions, check_request, make_bag

    clips = list(dict.fromkeys(clips))
    check_request(clips, out, to)
    options = BagOptions(with_source, sha512, organization)
    bags: list[str] = []
    faults: list[dict[str, str]] = []
    for clip in clips:
        try:
            bags.append(str(make_bag(clip, out, to, options)))
        except (Altered, ClipFault) as fault:
            output.log(f"{clip} was not packed: {fault}")
            faults.append({"clip_id": clip, "sentence": str(fault)})
        else:
            if not as_json:
                output.say(f"bag: {bags[-1]}")
    if as_json:
        output.emit({"bags": bags, "faults": faults, "exit_code": _exit_code(faults)})
    raise typer.Exit(_exit_code(faults))


def verify(
    paths: Annotated[
        list[str],
        typer.Argument(
            metavar="PATH",
            help="Output folder, clip folder or file (path or s3://), bag, or folder of bags.",
        ),
    ],
    decode: Annotated[
        bool,
        typer.Option("--decode", help="Also decode, and compare every frame with the .framemd5."),
    ] = False,
    anchors: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Also validate the C2PA manifests: these PEM certificates are trusted.",
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Check that published files and bags are unchanged.

    Each published file is compared with the size and SHA-256 in the record beside it. The record
    is compared with its own SHA-256. A bag is validated by its manifests. Each missing or changed
    file is named on one line; the exit code is then 3.

    \b
    Example:
        archive-restore verify restored bags/reel-0042
    """
    totals, faults = Counter[str](), list[dict[str, str]]()
    for path in paths:
        for found in examine(path, decode=decode):
            checked, manifests = (found, 0) if anchors is None else _credited(found, anchors)
            totals.update(manifests=manifests)
            totals.update(checked=1, files=checked.files, bytes=checked.size_bytes)
            faults += [fault._asdict() for fault in checked.faults]
            if not as_json:
                _say_faults(checked)
    if anchors is None:
        del totals["manifests"]
    if as_json:
        code = _exit_code(faults)
        output.emit({**totals, "decoded": decode, "faults": faults, "exit_code": code})
    else:
        damaged = len({fault["uri"] for fault in faults})
        verdict = f"{damaged} damaged" if damaged else "all unchanged"
        size = output.grouped(totals["bytes"] / 1e6)
        signed = f", {totals['manifests']} manifests" if anchors else ""
        files = f"{totals['files']} files of {totals['checked']} clips"
        output.say(f"{files}, {size} MB{signed}: {verdict}")
    raise typer.Exit(_exit_code(faults))


def _credited(checked: Checked, anchors: Path) -> tuple[Checked, int]:
    """The same with the faults of its C2PA manifests, and their number."""
    from pipeline.proof.fixity import check_manifests

    try:
        trusted = anchors.read_bytes()
    except OSError as error:
        raise ArchiveError(f"--anchors {anchors} cannot be read: {error.strerror}") from error
    count, faults = check_manifests(checked.uri, trusted)
    return checked._replace(faults=[*checked.faults, *faults]), count


def _say_faults(checked: Checked) -> None:
    """Print one line for each damaged file, with all its faults."""
    sentences: dict[str, list[str]] = {}
    for fault in checked.faults:
        sentences.setdefault(fault.uri, []).append(fault.sentence)
    for uri, found in sentences.items():
        output.say(f"{uri}: {'; '.join(found)}")


def policy(
    files: Annotated[
        list[str], typer.Argument(metavar="FILE", help="Video file: a path or s3:// address.")
    ],
    rules: Annotated[
        str,
        typer.Option(
            "--policy",
            metavar="NAME",
            help="A profile, or a TOML file of rules; default: the profile in the file's name.",
        ),
    ] = "",
    as_json: Json = False,
) -> None:
    """Check files against a policy, rule by rule.

    Exit code 0: every file passes every rule. Exit code 3: a rule is broken. Exit code 2: a policy
    or a file cannot be read.

    \b
    Example:
        archive-restore policy restored/clips/reel-0042/reel-0042_rst_sc.mp4 --policy access
    """
    results = [_judged(uri, rules) for uri in files]
    broken = sum(not rule["passed"] for result in results for rule in result["rules"])
    unread = any(result["error"] for result in results)
    code = ExitCode.USAGE if unread else ExitCode.FAULTS if broken else ExitCode.DONE
    if as_json:
        output.emit({"files": results, "broken": broken, "exit_code": code})
        raise typer.Exit(code)
    for result in results:
        if result["error"]:
            output.log(f"{result['file']}: {result['error']}")
        for rule in result["rules"]:
            verdict = "pass" if rule["passed"] else "FAIL"
            output.say(f"{verdict}  {result['file']}: {rule['sentence']}")
    raise typer.Exit(code)


def _judged(uri: str, rules: str) -> dict[str, Any]:
    """Return the outcome of every rule for a file, or why the file could not be read."""
    from pipeline.media.policy import check_file, policy_of
    from pipeline.proof.fixity import local_file
    from schemas.policy import load_policy
    from schemas.recipe import Limits

    name = rules or policy_of(uri.rpartition("/")[2])
    result: dict[str, Any] = {"file": uri, "policy": name, "rules": [], "error": None}
    try:
        if not name:
            raise ArchiveError("the file's name names no profile: give --policy")
        with local_file(uri) as path:
            outcomes = check_file(path, load_policy(name), Limits())
    except ArchiveError as error:
        return result | {"error": str(error)}
    judged = [outcome.to_dict() | {"sentence": str(outcome)} for outcome in outcomes]
    return result | {"rules": judged}


def sign(
    out: Out,
    key: Annotated[
        Path, typer.Option(metavar="FILE", help="Private key in PEM that only you may read.")
    ],
    certificate: Annotated[
        Path, typer.Option(metavar="FILE", help="Its certificates in PEM, the key's own first.")
    ],
    clips: Annotated[
        list[str] | None, typer.Argument(metavar="[CLIP]...", help="clip_id of a published clip.")
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Every published clip that is not signed yet.")
    ] = False,
    again: Annotated[
        bool, typer.Option("--again", help="Also sign what is signed already, anew.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Sign published files with C2PA manifests.

    These are Content Credentials. MP4 and QuickTime get the manifest inside. For Matroska and MXF
    it is a file beside them, <file>.c2pa. It says from the record what was changed, how much, where
    and why, and names the source by its SHA-256. The key is read by this command alone, and nothing
    goes over the network.

    \b
    Example:
        archive-restore sign reel-0042 --out restored --key signing.key --certificate chain.pem
    """
    from pipeline.proof.credentials import library
    from pipeline.proof.signing_key import SigningKey
    from pipeline.undo.published import published_clips
    from pipeline.undo.signing import sign_clip

    if bool(clips) == everything:
        raise ArchiveError("name the clips to sign, or give --all")
    library()
    loaded = SigningKey.load(key, certificate)
    done, faults = list[dict[str, object]](), list[dict[str, str]]()
    for clip in dict.fromkeys(clips or published_clips(out)):
        try:
            signed = sign_clip(clip, out, loaded, again=again)
        except (ArchiveError, ClipFault) as fault:
            if fault.exit_code not in (ExitCode.FAULTS, ExitCode.USAGE):
                raise  # the output is in use, or its lease is lost
            output.log(f"{clip}: {fault}")
            faults.append({"clip_id": clip, "sentence": str(fault)})
            continue
        done.append({"clip_id": clip, "new": signed.new, "manifests": dict(signed.manifests)})
        if not as_json:
            many = len(signed.manifests)
            what = f"{many} files signed" if many > 1 else "1 file signed"
            output.say(f"{clip}: {what if signed.new else 'signed already'}")
    code = ExitCode.FAULTS if faults else ExitCode.DONE
    if as_json:
        output.emit(
            {"signed": done, "subject": loaded.subject, "faults": faults, "exit_code": code}
        )
    raise typer.Exit(code)


exports = typer.Typer(help="Write what the records hold for other systems.", no_args_is_help=True)


@exports.command()
def pbcore(
    out: Out,
    to: Annotated[
        Path, typer.Option(metavar="FOLDER", help="Folder for the files: one for each clip.")
    ],
    clips: Annotated[
        list[str] | None, typer.Argument(metavar="[CLIP]...", help="clip_id of a published clip.")
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Every published clip.")] = False,
    as_json: Json = False,
) -> None:
    """Write PBCore 2.1 descriptions of published clips.

    Each has the source, the master and the derived files with digest, size, format and origin, and
    says in plain words what was changed. All of it comes from the record.

    \\b
    Example:
        archive-restore export pbcore reel-0042 --out restored --to pbcore
    """
    from pipeline.proof.pbcore import pbcore_xml
    from pipeline.undo.published import published_clips, record_of

    if bool(clips) == everything:
        raise ArchiveError("name the clips to export, or give --all")
    made: list[str] = []
    for clip in dict.fromkeys(clips or published_clips(out)):
        uri, _, record = record_of(clip, out)
        path = to / f"{uri.rpartition('/')[2]}.pbcore.xml"
        to.mkdir(parents=True, exist_ok=True)
        path.write_bytes(pbcore_xml(record, uri))
        made.append(str(path))
        if not as_json:
            output.say(str(path))
    if as_json:
        output.emit({"files": made})


def examine(path: str, *, decode: bool = False) -> Iterator[Checked]:
    """Check the bags in a folder. If there are none, check the published clips below it.

    Raises ArchiveError if the folder holds neither.
    """
    from pipeline.proof.bag import bags_below, check_bag
    from pipeline.proof.fixity import check_published, published_files

    found = False
    for folder in bags_below(path):
        found = True
        yield check_bag(folder)
    for uri in () if found else published_files(path):
        found = True
        yield check_published(uri, decode=decode)
    if not found:
        raise ArchiveError(f"{path} holds no published clip and no bag")


def _exit_code(faults: Sequence[object]) -> int:
    return ExitCode.FAULTS if faults else ExitCode.DONE
