"""Pack published clips as bags (BagIt 1.0, RFC 8493) and validate bags, with bagit-python.

The data/ folder of a bag holds the master, its sidecars and derived files, and on request the
source. The manifests are of SHA-256, and on request of SHA-512. bag-info.txt states what the bag
holds and whose it is.
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

from pipeline.proof.fixity import Checked, FileFault, check_published, published_files
from pipeline.proof.record import listed, read_record
from pipeline.store import storage
from pipeline.store.address import is_s3, join
from pipeline.store.layout import clip_folder
from schemas.errors import ArchiveError
from schemas.exit_codes import ExitCode
from schemas.manifest import CLIP_ID

_DECLARATION = "BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n"

logging.getLogger("bagit").addHandler(
    logging.NullHandler()
)  # our own messages report what it finds


@dataclass(frozen=True)
class BagOptions:
    """Options of a bag. By default it holds the files of the clip, with SHA-256."""

    with_source: bool = False
    sha512: bool = False
    organization: str = ""  # Source-Organization


class Altered(ArchiveError):
    """Files to be packed differ from what was published. The message names each file."""

    def __init__(self, faults: list[FileFault]) -> None:
        lines = "; ".join(f"{fault.uri}: {fault.sentence}" for fault in faults)
        super().__init__(lines, exit_code=ExitCode.FAULTS)


def check_request(clips: list[str], out: str, folder: Path) -> None:
    """Raises ArchiveError with every clip that is not published or whose bag exists."""
    wrong = [f"{folder} is no folder on a disk"] if str(folder).startswith("s3:") else []
    for clip in clips:
        if not re.fullmatch(CLIP_ID, clip):
            wrong.append(f"{clip!r} is no clip id")
        elif _published(clip, out) is None:
            wrong.append(f"{clip} is not published in {out}")
        elif (folder / clip).exists():
            wrong.append(f"{folder / clip} exists")
    if wrong:
        raise ArchiveError("; ".join(wrong))


def _published(clip: str, out: str) -> str | None:
    """The address of a clip's master if its record exists, else None."""
    files = published_files(clip_folder(out, clip))
    return next((uri for uri in files if storage.exists(f"{uri}.json")), None)


def make_bag(clip: str, out: str, folder: Path, options: BagOptions) -> Path:
    """Pack a published clip into FOLDER/<clip>. The bag appears only when it is complete.

    Every file is first compared with its record. Raises Altered, or ClipFault if the source is
    missing or has changed.
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
        # bagit-python declares version 0.97. Its bags are valid in version 1.0 as well.
        (bag / "bagit.txt").write_text(_DECLARATION, encoding="utf-8")
        made.save()
        if target.exists():
            raise ArchiveError(f"{target} exists")
        bag.rename(target)
    return target


def _fetch(uri: str, bag: Path) -> dict[str, Any]:
    """Copy the files of a clip and check the copies. Returns the record."""
    try:
        record = read_record(uri)
    except ValueError as error:
        fault = FileFault(f"{uri}.json", "altered", str(error))
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
        fault = FileFault(uri, "altered", f"its SHA-256 is {found}, {expected} was restored")
        raise Altered([fault])


def _bag_info(clip: str, record: dict[str, Any], options: BagOptions) -> dict[str, str]:
    row = record["row"]
    what = next(iter(record["tags"].values()))  # the first tag describes the file
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
    return not is_s3(path) and storage.exists(join(path, "bagit.txt"))


def bags_below(path: str) -> list[str]:
    """The bags in a local folder: itself, or its subfolders."""
    if is_s3(path):
        return []
    found = [path, *(join(path, name) for name in storage.folders(path))]
    return [folder for folder in found if is_bag(folder)]


def check_bag(path: str) -> Checked:
    """Validate a bag with bagit-python. List every missing, altered or unexpected file.

    Payload-Oxum is checked last: a wrong sum does not show which file is wrong.
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
        return Checked(path, files, size, [FileFault(path, "unreadable", _line(error))])
    return Checked(path, files, size, [])


def _named(path: str, error: bagit.BagValidationError) -> Iterator[FileFault]:
    """Yield one fault per file, even if several manifests list it."""
    if not error.details:
        yield FileFault(path, "altered", _line(error))
    for name, detail in {detail.path: detail for detail in reversed(error.details)}.items():
        uri = join(path, name)
        if isinstance(detail, bagit.FileMissing):
            yield FileFault(uri, "missing", "the manifest lists it, but the file does not exist")
        elif isinstance(detail, bagit.UnexpectedFile):
            yield FileFault(uri, "unexpected", "no manifest lists it")
        elif re.fullmatch("[0-9a-f]+", detail.found):
            sentence = f"its {detail.algorithm} is {detail.found}, {detail.expected} was packed"
            yield FileFault(uri, "altered", sentence)
        else:
            yield FileFault(uri, "unreadable", " ".join(detail.found.split()))


def _line(error: Exception) -> str:
    return " ".join(str(error).split())
