"""The commands that keep results: pack them for a repository, prove later that nothing changed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jobs.console import output
from jobs.console.options import Json, Out
from schemas.errors import ArchiveError, ClipFault

if TYPE_CHECKING:
    from pipeline.proof.fixity import Checked

DAMAGED_EXIT = 3


def package(
    clips: Annotated[list[str], typer.Argument(metavar="CLIP", help="Ids of published clips.")],
    out: Out,
    to: Annotated[Path, typer.Option(metavar="FOLDER", help="One bag a clip: FOLDER/<clip>.")],
    bagit: Annotated[
        bool,
        typer.Option(
            "--bagit", show_default=False, help="As BagIt bags (RFC 8493): the only form there is."
        ),
    ] = True,
    sha512: Annotated[bool, typer.Option("--sha512", help="SHA-512 beside SHA-256.")] = False,
    with_source: Annotated[bool, typer.Option("--with-source", help="The source as well.")] = False,
    organization: Annotated[str, typer.Option(help="Source-Organization in bag-info.txt.")] = "",
    as_json: Json = False,
) -> None:
    """Pack published clips for a repository, as BagIt bags.

    A bag holds the restored file and its sidecars. Every file is compared with its record first;
    a clip with a damaged file is not packed.

    \b
    Example:
        archive-restore package reel-0042 --out restored --to bags --bagit
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
            help="Output folders, a clip's folder or file (paths or s3://), bags, folders of bags.",
        ),
    ],
    decode: Annotated[
        bool, typer.Option("--decode", help="Decode too: every frame against the .framemd5.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Check that published files and bags are unchanged.

    Every published file is compared with the size and SHA-256 in the record beside it, and the
    record with its own; a bag is validated by its manifests. Each file that is missing or has
    changed is named on a line of its own, and the command ends with 3.

    \b
    Example:
        archive-restore verify restored bags/reel-0042
    """
    totals, faults = Counter[str](), list[dict[str, str]]()
    for path in paths:
        for checked in examine(path, decode=decode):
            totals.update(checked=1, files=checked.files, bytes=checked.size_bytes)
            faults += [fault._asdict() for fault in checked.faults]
            if not as_json:
                _say_faults(checked)
    if as_json:
        code = _exit_code(faults)
        output.emit({**totals, "decoded": decode, "faults": faults, "exit_code": code})
    else:
        damaged = len({fault["uri"] for fault in faults})
        verdict = f"{damaged} damaged" if damaged else "all unchanged"
        size = output.grouped(totals["bytes"] / 1e6)
        output.say(f"{totals['files']} files of {totals['checked']} clips, {size} MB: {verdict}")
    raise typer.Exit(_exit_code(faults))


def _say_faults(checked: Checked) -> None:
    """One line a file, whatever the number of its faults."""
    sentences: dict[str, list[str]] = {}
    for fault in checked.faults:
        sentences.setdefault(fault.uri, []).append(fault.sentence)
    for uri, told in sentences.items():
        output.say(f"{uri}: {'; '.join(told)}")


def policy(
    files: Annotated[
        list[str], typer.Argument(metavar="FILE", help="Video files: paths or s3:// addresses.")
    ],
    rules: Annotated[
        str,
        typer.Option(
            "--policy",
            metavar="NAME",
            help="A profile, or a TOML file of rules; without it, what a published name tells.",
        ),
    ] = "",
    as_json: Json = False,
) -> None:
    """Check files against a policy, rule by rule.

    Ends with 0 when every rule holds for every file, with 3 when one is broken, and with 2 when a
    policy or a file cannot be read, whatever the others say.

    \b
    Example:
        archive-restore policy restored/clips/reel-0042/reel-0042_rst_sc.mp4 --policy access
    """
    results = [_judged(uri, rules) for uri in files]
    broken = sum(not rule["passed"] for result in results for rule in result["rules"])
    code = 2 if any(result["error"] for result in results) else DAMAGED_EXIT if broken else 0
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
    """What every rule finds in a file, or why none could look."""
    from pipeline.media.policy import check_file, policy_of
    from pipeline.proof.fixity import local_file
    from schemas.policy import load_policy
    from schemas.recipe import Limits

    name = rules or policy_of(uri.rpartition("/")[2])
    result: dict[str, Any] = {"file": uri, "policy": name, "rules": [], "error": None}
    try:
        if not name:
            raise ArchiveError("its name is none of a published file: give --policy")
        with local_file(uri) as path:
            outcomes = check_file(path, load_policy(name), Limits())
    except ArchiveError as error:
        return result | {"error": str(error)}
    told = [outcome.to_dict() | {"sentence": str(outcome)} for outcome in outcomes]
    return result | {"rules": told}


def examine(path: str, *, decode: bool = False) -> Iterator[Checked]:
    """Check the bags in a folder, or else the published clips below it, one after another.

    Raises ArchiveError where there is neither.
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
    return DAMAGED_EXIT if faults else 0
