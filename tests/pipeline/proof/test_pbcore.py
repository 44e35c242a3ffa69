"""PBCore and the statement: recorded facts, in the order that the schema asks for."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from pipeline.proof.pbcore import NAMESPACE, pbcore_xml
from pipeline.proof.record import read_record
from pipeline.proof.statement import statement
from schemas.recipe import Recipe
from tests.support.command_line import invoke
from tests.support.media.derived import PAL
from tests.support.media.media_factory import write_clip
from tests.support.published import publish, settings_for

# Children of each element in order, from pbcore-2.1.xsd: "" exactly one, "?" at most one, "+" one
# or more, "*" any number. Only elements that we write.
SCHEMA: dict[str, dict[str, str]] = {
    "pbcoreDescriptionDocument": {
        "pbcoreAssetType": "*", "pbcoreIdentifier": "+", "pbcoreTitle": "+",
        "pbcoreDescription": "+", "pbcoreRelation": "*", "pbcoreRightsSummary": "*",
        "pbcoreInstantiation": "*", "pbcoreAnnotation": "*",
    },
    "pbcoreRelation": {"pbcoreRelationType": "", "pbcoreRelationIdentifier": ""},
    "pbcoreRightsSummary": {"rightsSummary": "?"},
    "pbcoreInstantiation": {
        "instantiationIdentifier": "+", "instantiationDigital": "?", "instantiationStandard": "?",
        "instantiationLocation": "", "instantiationMediaType": "?",
        "instantiationGenerations": "*", "instantiationFileSize": "?",
        "instantiationDuration": "?", "instantiationEssenceTrack": "*",
        "instantiationRelation": "*", "instantiationAnnotation": "*",
    },
    "instantiationEssenceTrack": {
        "essenceTrackType": "?", "essenceTrackEncoding": "?", "essenceTrackFrameRate": "?",
        "essenceTrackFrameSize": "?", "essenceTrackDuration": "?", "essenceTrackAnnotation": "*",
    },
    "instantiationRelation": {
        "instantiationRelationType": "", "instantiationRelationIdentifier": "",
    },
}  # fmt: skip
WITH_SOURCE = {"pbcoreIdentifier", "instantiationIdentifier"}  # the attribute is required


def breaches(element: ET.Element) -> list[str]:
    """What breaks the schema in an element and below it."""
    name = element.tag.removeprefix(f"{{{NAMESPACE}}}")
    names = [child.tag.removeprefix(f"{{{NAMESPACE}}}") for child in element]
    found, allowed = [], SCHEMA.get(name, {})
    found += [f"{child} in {name}" for child in names if child not in allowed]
    known = [child for child in names if child in allowed]
    if known != sorted(known, key=list(allowed).index):
        found.append(f"order of {name}: {known}")
    for child, times in allowed.items():
        count = names.count(child)
        if (times in ("", "+") and not count) or (times in ("", "?") and count > 1):
            found.append(f"{count} {child} in {name}")
    if name in WITH_SOURCE and not element.get("source"):
        found.append(f"{name} has no source")
    return found + [fault for child in element for fault in breaches(child)]


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The output with a published PAL clip that has an access copy of 50 frames a second."""
    work = tmp_path_factory.mktemp("pbcore")
    write_clip(work / "reel.mkv", PAL)
    recipe = Recipe(profiles=("preservation", "access"))
    publish(
        work, work / "reel.mkv", settings_for(work, recipe), collection="Newsreels",
        access_class="restricted", notes="<a> & b\x01",
    )  # fmt: skip
    return str(work / "out")


def test_the_document_keeps_the_schema_and_the_record(out: str) -> None:
    master = f"{out}/clips/reel/reel_rst.mkv"
    record = read_record(master)
    root = ET.fromstring(pbcore_xml(record, master))
    assert breaches(root) == []

    def texts(path: str) -> list[str | None]:
        steps = "/".join(f"{{{NAMESPACE}}}{step}" for step in path.split("/"))
        return [element.text for element in root.findall(steps)]

    assert texts("pbcoreIdentifier") == ["reel"]
    assert texts("pbcoreDescription") == [record["statement"]]
    assert texts("pbcoreRelation/pbcoreRelationIdentifier") == ["Newsreels"]
    assert texts("pbcoreAnnotation") == ["<a> & b"]
    files = record["files"]
    names = ["reel_rst.mkv", "reel_rst_sc.mp4"]
    digests = [record["source_sha256"], *(files[name]["sha256"] for name in names)]
    instantiation = "pbcoreInstantiation"
    found = texts(f"{instantiation}/instantiationIdentifier")
    assert [text for text in found if text not in names] == digests
    assert [text for text in found if text in names] == names
    made_from = texts(f"{instantiation}/instantiationRelation/instantiationRelationIdentifier")
    assert made_from == digests[:2]
    rates = texts(f"{instantiation}/instantiationEssenceTrack/essenceTrackFrameRate")
    assert rates == ["25", "25", "50"]
    frames = texts(f"{instantiation}/instantiationEssenceTrack/essenceTrackAnnotation")
    assert frames[2] == str(2 * int(str(frames[1])))


def test_a_breach_is_found() -> None:
    made = ET.Element(f"{{{NAMESPACE}}}pbcoreDescriptionDocument")
    for name in ("pbcoreTitle", "pbcoreIdentifier", "pbcoreGenre"):
        ET.SubElement(made, f"{{{NAMESPACE}}}{name}")
    assert len(breaches(made)) == 4


def test_the_command_writes_a_file_for_each_clip(out: str, tmp_path: Path) -> None:
    told = invoke("export", "pbcore", "--all", "--out", out, "--to", str(tmp_path / "xml"))
    assert told.exit_code == 0, told.output
    (path,) = (tmp_path / "xml").iterdir()
    assert path.name == "reel_rst.mkv.pbcore.xml" and str(path) in told.stdout
    assert breaches(ET.fromstring(path.read_bytes())) == []
    missing = invoke("export", "pbcore", "other", "--out", out, "--to", str(tmp_path / "xml"))
    assert missing.exit_code == 2 and "other is not published" in missing.stderr


ROW: dict[str, Any] = {
    "frames": 2000, "frames_changed": 1234, "share_changed": 0.031, "model": "base",
    "regions_repaired": 12, "largest_repair": 410, "largest_repair_frame": 77, "suspects": 2,
    "exposure_gain_min": 0.96, "exposure_gain_max": 1.05, "frames_left": 250,
}  # fmt: skip


def test_the_statement_says_what_was_recorded() -> None:
    assert statement(ROW, {"name": "film", "grain": 1.0}) == (
        "This is an AI-assisted restoration, not the original. 1,234 of 2,000 frames differ from "
        "the source, in 3.1 % of the picture. 12 regions were filled as defects from the frames "
        "around them; the largest has 410 pixels, in frame 77. No frame was made anew. Brightness "
        "was corrected by -4 to +5 %. Grain was kept. Left unchanged: 2 regions that may be real "
        "things, and 250 frames. The model was base, by the recipe film."
    )


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"frames_changed": 0}, "No picture was changed: every frame is the source's"),
        ({"frames_filled": 1}, "1 frame was made anew: nothing recorded them"),
        ({"regions_repaired": 0}, "No region was filled as a defect."),
        ({"frames_reverted": 3}, "A person put source pixels back in 3 frames."),
        ({"share_changed": None}, "1,234 of 2,000 frames differ from the source."),
    ],
)
def test_the_statement_follows_the_record(change: dict[str, Any], sentence: str) -> None:
    assert sentence in statement(ROW | change, {"grain": 0.0})
