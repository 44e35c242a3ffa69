"""The PBCore 2.1 description of a published clip: the asset, its source and its files.

Order and occurrence of the elements follow pbcore-2.1.xsd. Everything comes from the clip's record.
What only the archive knows (title, subject, creator) is for its catalogue to add.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any
from xml.etree import ElementTree as ET

from pipeline.media.profiles import FORMS
from pipeline.proof.record import Digest, listed
from pipeline.proof.statement import statement

NAMESPACE = "http://www.pbcore.org/PBCore/PBCoreNamespace.html"
_XSI = "http://www.w3.org/2001/XMLSchema-instance"
_SCHEMA = "https://raw.githubusercontent.com/PBCore-AV-Metadata/PBCore_2.1/master/pbcore-2.1.xsd"
_TYPES = {"mkv": "video/x-matroska", "mov": "video/quicktime", "mxf": "application/mxf",
          "mp4": "video/mp4"}  # fmt: skip
_CONTAINERS = {"mkv": "Matroska", "mov": "QuickTime", "mxf": "MXF", "mp4": "MP4"}

ET.register_namespace("", NAMESPACE)


def pbcore_xml(record: Mapping[str, Any], uri: str) -> bytes:
    """The document in UTF-8. `uri` is the address of the clip's master."""
    row = record["row"]
    root = _node("pbcoreDescriptionDocument")
    root.set(f"{{{_XSI}}}schemaLocation", f"{NAMESPACE} {_SCHEMA}")
    root.append(_node("pbcoreAssetType", "Clip"))
    root.append(_node("pbcoreIdentifier", row["clip_id"], source="archive-restore clip_id"))
    title = record.get("tags", {}).get("TITLE") or row["clip_id"]
    root.append(_node("pbcoreTitle", title))
    words = statement(row, record["recipe"])
    root.append(_node("pbcoreDescription", words, descriptionType="Restoration statement"))
    if row.get("collection"):
        kind, where = _node("pbcoreRelationType", "Is Part Of"), row["collection"]
        root.append(_node("pbcoreRelation", kind, _node("pbcoreRelationIdentifier", where)))
    if row.get("access_class"):
        summary = _node("rightsSummary", f"access class: {row['access_class']}")
        root.append(_node("pbcoreRightsSummary", summary))
    root.extend(_instantiations(record, uri))
    if row.get("notes"):
        root.append(_node("pbcoreAnnotation", row["notes"], annotationType="notes"))
    ET.indent(root)
    return bytes(ET.tostring(root, encoding="UTF-8", xml_declaration=True)) + b"\n"


def _instantiations(record: Mapping[str, Any], uri: str) -> Iterator[ET.Element]:
    """The source, the master, and the derived files."""
    row, (folder, _, master) = record["row"], uri.rpartition("/")
    yield _source(record)
    files = {file.name: file for file in listed(record)}
    encoding = f"FFV1 version 3, {row['pix_fmt']}"
    source = str(record["source_sha256"])
    count = int(row.get("frames") or 0)
    yield _file(files[master], uri, "Master: Preservation", encoding, source, row, count)
    for one in record.get("derived", ()):
        form = FORMS[one["profile"]]
        use = "Copy: Access" if one["profile"] == "access" else "Copy: Mezzanine"
        file = files[one["file"]]
        where, encoding = f"{folder}/{file.name}", f"{form.title}, {form.pix_fmt}"
        yield _file(file, where, use, encoding, files[master].sha256, row, int(one["frames"]))


def _source(record: Mapping[str, Any]) -> ET.Element:
    row = record["row"]
    size = row.get("source_bytes")
    sizes = [] if size is None else [_sized("instantiationFileSize", size, "bytes")]
    return _node(
        "pbcoreInstantiation",
        _node("instantiationIdentifier", record["source_sha256"], source="SHA-256"),
        _node("instantiationStandard", row.get("container") or "unknown"),
        _node("instantiationLocation", row["source_uri"]),
        _node("instantiationMediaType", "Moving Image"),
        _node("instantiationGenerations", "Source of the restoration"),
        *sizes,
        *_duration(row, "instantiationDuration"),
        _picture(row, str(row.get("codec") or "unknown"), int(row.get("source_frames") or 0)),
    )


def _file(
    file: Digest,
    uri: str,
    use: str,
    encoding: str,
    made_from: str,
    row: Mapping[str, Any],
    frames: int,
) -> ET.Element:
    kind = file.name.rpartition(".")[2]
    return _node(
        "pbcoreInstantiation",
        _node("instantiationIdentifier", file.sha256, source="SHA-256"),
        _node("instantiationIdentifier", file.name, source="file name"),
        _node("instantiationDigital", _TYPES[kind]),
        _node("instantiationStandard", _CONTAINERS[kind]),
        _node("instantiationLocation", uri),
        _node("instantiationMediaType", "Moving Image"),
        _node("instantiationGenerations", use),
        _sized("instantiationFileSize", file.size, "bytes"),
        *_duration(row, "instantiationDuration"),
        _picture(row, encoding, frames),
        _node(
            "instantiationRelation",
            _node("instantiationRelationType", "Is Derived From"),
            _node("instantiationRelationIdentifier", made_from, source="SHA-256"),
        ),
        *_marks(row),
    )


def _marks(row: Mapping[str, Any]) -> list[ET.Element]:
    """What the file says of itself, as annotations."""
    facts = {
        "digital source type": row.get("digital_source_type"), "verdict": row.get("verdict"),
        "restoration model": f"{row['model']}, SHA-256 of its weights {row['weights_sha256']}",
        "restoration recipe": f"SHA-256 {row['recipe_sha256']}",
    }  # fmt: skip
    return [
        _node("instantiationAnnotation", str(text), annotationType=kind)
        for kind, text in facts.items()
        if text
    ]


def _picture(row: Mapping[str, Any], encoding: str, frames: int) -> ET.Element:
    """The picture track. A derived file may have another bit depth, so none is stated here."""
    parts = [_node("essenceTrackType", "video"), _node("essenceTrackEncoding", encoding)]
    if row.get("fps_num") and row.get("fps_den") and row.get("frames"):
        rate = row["fps_num"] / row["fps_den"] * frames / row["frames"]  # fields may be frames
        parts.append(_sized("essenceTrackFrameRate", f"{rate:.6g}", "fps"))
    if row.get("width"):
        parts.append(_sized("essenceTrackFrameSize", f"{row['width']}x{row['height']}", "pixels"))
    parts += _duration(row, "essenceTrackDuration")
    if frames:
        parts.append(_node("essenceTrackAnnotation", str(frames), annotationType="frames"))
    return _node("instantiationEssenceTrack", *parts)


def _duration(row: Mapping[str, Any], name: str) -> list[ET.Element]:
    """HH:MM:SS.mmm."""
    seconds = row.get("duration_seconds")
    if seconds is None:
        return []
    whole = round(seconds * 1000)
    minutes, thousandths = divmod(whole, 60_000)
    hours, minutes = divmod(minutes, 60)
    return [_node(name, f"{hours:02d}:{minutes:02d}:{thousandths / 1000:06.3f}")]


def _sized(name: str, value: object, unit: str) -> ET.Element:
    return _node(name, str(value), unitsOfMeasure=unit)


def _node(tag: str, *content: str | ET.Element, **attributes: str) -> ET.Element:
    element = ET.Element(f"{{{NAMESPACE}}}{tag}", attributes)
    for part in content:
        if isinstance(part, str):
            element.text = _text(part)
        else:
            element.append(part)
    return element


def _text(text: str) -> str:
    """The text without characters that XML cannot hold."""
    return "".join(c for c in text if c in "\t\n" or (c >= " " and c not in "\ufffe\uffff"))
