"""Published clips as bags (BagIt 1.0, RFC 8493), made and validated with bagit-python.

A bag holds the restored file and its sidecars, on request the source, below data/; manifests of
SHA-256, on request of SHA-512; and in bag-info.txt what it is and whose.
"""

from __future__ import annotations

import logging
import re
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import bagit

from pipeline.proof.fixity import Checked, Fault, check_published, published_files
from pipeline.proof.record import file_uri, listed, read_record
from pipeline.store import storage
from schemas.errors import ArchiveError
from schemas.manifest import CLIP_ID

_DECLARATION = "BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n"

logging.getLogger("bagit").addHandler(logging.NullHandler())  # what it finds is told by us


@dataclass(frozen=True)
class BagOptions:
    """What goes into a bag beside the restored file and its sidecars."""

    with_source: bool = False
    sha512: bool = False
    organization: str = ""  # Source-Organization


class Altered(ArchiveError):
    """Files to be packed are not what was published; the message names each."""

    def __init__(self, faults: list[Fault]) -> None:
        lines = "; ".join(f"{fault.uri}: {fault.sentence}" for fault in faults)
        super().__init__(lines, exit_code=3)


def check_request(clips: list[str], out: str, folder: Path) -> None:
    """Raise ArchiveError naming every clip that is not published or whose bag is there already."""
    told = [f"{folder} is no folder on a disk"] if str(folder).startswith("s3:") else []
    for clip in clips:
        if not re.fullmatch(CLIP_ID, clip):
            told.append(f"{clip!r} is no clip id")
        elif _published(clip, out) is None:
            told.append(f"{clip} is not published in {out}")
        elif (folder / clip).exists():
            told.append(f"{folder / clip} exists")
    if told:
        raise ArchiveError("; ".join(told))


def _published(clip: str, out: str) -> str | None:
    """The restored file of a clip that has its record, if there is one."""
    files = published_files(file_uri(out, clip, ""))
    return next((uri for uri in files if storage.exists(f"{uri}.json")), None)


def make_bag(clip: str, out: str, folder: Path, options: BagOptions) -> Path:
    """Pack a published clip into FOLDER/<clip>, which appears only when it is whole.

    Every file is compared with its record first. Raises Altered, or ClipFault for a source that
    is gone or has changed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    uri, target = _published(clip, out), folder / clip
    if uri is None:
        raise ArchiveError(f"{clip} is not published in {out}")
    with tempfile.TemporaryDirectory(prefix=f".{clip}.", dir=folder) as staging:
        bag = Path(staging) / "bag"
        record = _fetch(uri, bag)
        if options.with_source:
            _fetch_source(record, bag / "source")
        checksums = ["sha256", "sha512"] if options.sha512 else ["sha256"]
        made = bagit.make_bag(str(bag), _bag_info(clip, record, options), checksums=checksums)
        # bagit-python declares 0.97; what it writes is valid 1.0 as well
        (bag / "bagit.txt").write_text(_DECLARATION, encoding="utf-8")
        made.save()
        if target.exists():
            raise ArchiveError(f"{target} exists")
        bag.rename(target)
    return target


def _fetch(uri: str, bag: Path) -> dict[str, Any]:
    """Copy the restored file and its sidecars, and check the copies; returns the record."""
    try:
        record = read_record(uri)
    except ValueError as error:
        fault = Fault(f"{uri}.json", "altered", str(error))
        raise Altered([fault]) from error
    name = uri.rpartition("/")[2]
    for wanted in (*(file.name for file in listed(record)), f"{name}.json"):
        storage.download(f"{uri.rpartition('/')[0]}/{wanted}", bag / wanted)
    found = check_published(str(bag / name))
    if found.faults:
        raise Altered([f._replace(uri=_original(f.uri, uri)) for f in found.faults])
    return record


def _original(copy: str, uri: str) -> str:
    return f"{uri.rpartition('/')[0]}/{copy.rpartition('/')[2]}"


def _fetch_source(record: dict[str, Any], folder: Path) -> None:
    uri, expected = str(record["row"]["source_uri"]), str(record["source_sha256"])
    path = folder / uri.rpartition("/")[2]
    storage.download(uri, path)
    if (found := storage.sha256_file(path)) != expected:
        fault = Fault(uri, "altered", f"its SHA-256 is {found}, restored was {expected}")
        raise Altered([fault])


def _bag_info(clip: str, record: dict[str, Any], options: BagOptions) -> dict[str, str]:
    row = record["row"]
    what = next(iter(record["tags"].values()))  # the first tag says what the file is
    info = {
        "Source-Organization": options.organization,
        "External-Identifier": clip,
        "External-Description": f"{what}; source {row['source_uri']}",
        "Bag-Group-Identifier": row.get("collection") or "",
        "Internal-Sender-Identifier": row["run"],
        "Bag-Software-Agent": f"archive-restore {version('archive-restore')}, "
        f"bagit.py {version('bagit')}",
    }
    return {name: str(value) for name, value in info.items() if value}


# ---- validation ----------------------------------------------------------------------------------


def is_bag(path: str) -> bool:
    """Whether a local folder declares itself a bag."""
    return not storage.is_s3(path) and storage.exists(storage.join(path, "bagit.txt"))


def bags_below(path: str) -> list[str]:
    """The bags in a local folder: itself, or its subfolders."""
    if storage.is_s3(path):
        return []
    found = [path, *(storage.join(path, name) for name in storage.folders(path))]
    return [folder for folder in found if is_bag(folder)]


def check_bag(path: str) -> Checked:
    """Validate a bag with bagit-python, and name every file that is missing, altered or unlisted.

    The sum in Payload-Oxum is looked at last: it tells that something is wrong, not what.
    """
    files, size = 0, 0
    try:
        bag = bagit.Bag(path)
        payload = [Path(path, name) for name in bag.payload_files()]
        files, size = len(payload), sum(file.stat().st_size for file in payload)
        oxum = bag.info.pop("Payload-Oxum", None)
        bag.validate()
        if oxum is not None:
            bag.info["Payload-Oxum"] = oxum
            bag.validate(fast=True)
    except bagit.BagValidationError as error:
        return Checked(path, files, size, list(_named(path, error)))
    except (bagit.BagError, OSError, ValueError) as error:
        return Checked(path, files, size, [Fault(path, "unreadable", _line(error))])
    return Checked(path, files, size, [])


def _named(path: str, error: bagit.BagValidationError) -> Iterator[Fault]:
    """One fault a file, whatever the number of manifests."""
    if not error.details:
        yield Fault(path, "altered", _line(error))
    for name, detail in {detail.path: detail for detail in reversed(error.details)}.items():
        uri = storage.join(path, name)
        if isinstance(detail, bagit.FileMissing):
            yield Fault(uri, "missing", "the manifest names it, and it is not there")
        elif isinstance(detail, bagit.UnexpectedFile):
            yield Fault(uri, "unexpected", "no manifest names it")
        elif re.fullmatch("[0-9a-f]+", detail.found):
            sentence = f"its {detail.algorithm} is {detail.found}, packed was {detail.expected}"
            yield Fault(uri, "altered", sentence)
        else:
            yield Fault(uri, "unreadable", " ".join(detail.found.split()))


def _line(error: Exception) -> str:
    return " ".join(str(error).split())
