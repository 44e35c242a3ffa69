"""PREMIS: the document keeps to the schema, and equal work gives an equal document."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from pipeline.clip.changes import Changes
from pipeline.clip.clip import Clip as ManifestClip
from pipeline.clip.survey import Survey
from pipeline.proof.premis import Restoration, premis_xml
from pipeline.proof.record import Digest
from schemas.recipe import Recipe
from tests.support.media.media_factory import Clip, Sound, write_clip
from tests.support.media.probes import PROBE
from tests.support.premis_schema import XSI, breaches, local_name, texts, wrong_attributes
from tests.support.published import WEIGHTS, publish, settings_for

ISO_8601 = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00"
SHA256 = re.compile(r"[0-9a-f]{64}")


def document(checksum: str | None = None, at: str = "2026-01-02T03:04:05+00:00") -> bytes:
    """A document made from plain values: no media, and no time but the one given."""
    survey = Survey(
        "reel", "s3://films/Reel & <1>.mov", "ab" * 32, "1234:x", PROBE, [0, 1], [7, 8], [],
        False, [], surveyed="2026-01-01T00:00:00+00:00" if at.startswith("2026") else at,
    )  # fmt: skip
    changes = Changes(1, 2, {"source_share": 0.5, "defect_share": 0.25})
    restored = Digest("reel_rst.mkv", 99, "cd" * 32)
    clip = ManifestClip("reel", "reel.mov", checksum=checksum)
    return premis_xml(Restoration(clip, survey, SETTINGS, changes, restored, at))


class _Settings:
    """What the document reads of the settings of a run."""

    recipe, weights_sha256, code = Recipe(), WEIGHTS, "0.1.0"

    def work_key(self, source_sha256: str, row: dict[str, object]) -> str:
        return hashlib.sha256(source_sha256.encode()).hexdigest()


SETTINGS = _Settings()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A published clip: its folder."""
    work = tmp_path_factory.mktemp("premis")
    source = work / "reel.mkv"
    write_clip(source, Clip(frames=4, sounds=(Sound("pcm_s16le"),)))
    checksum = hashlib.md5(source.read_bytes()).hexdigest()
    publish(work, source, settings_for(work), checksum=checksum, checksum_algo="md5")
    return work / "out" / "clips" / "reel"


def test_the_published_document_keeps_to_the_schema(folder: Path) -> None:
    root = ET.fromstring((folder / "reel_rst.mkv.premis.xml").read_bytes())
    assert local_name(root) == "premis" and root.get("version") == "3.0"
    assert breaches(root) == []
    assert wrong_attributes(root) == []
    kinds = [element.get(f"{XSI}type") for element in root if local_name(element) == "object"]
    assert kinds == ["premis:file", "premis:file"]


@pytest.mark.parametrize(
    ("damage", "breach"),
    [
        (lambda root: root.append(root[0]), "premis holds"),
        (lambda root: root[2].remove(root[2][1]), "event holds"),
        (lambda root: root[0].insert(0, root[0][-1]), "object holds"),
        (lambda root: root[-1][0].clear(), "agentIdentifier holds"),
        (lambda root: setattr(root[2][2], "text", ""), "eventDateTime has no text"),
    ],
)
def test_the_check_of_the_schema_finds_a_breach(damage: object, breach: str) -> None:
    root = ET.fromstring(document())
    assert breaches(root) == []
    damage(root)  # type: ignore[operator]
    assert any(told.startswith(breach) for told in breaches(root))


def test_links_lead_to_what_is_there() -> None:
    root = ET.fromstring(document())
    for kind in ("Object", "Event", "Agent"):
        there = set(texts(root, f"{kind.lower()}Identifier/{kind.lower()}IdentifierValue"))
        linked = texts(root, f"linking{kind}Identifier/linking{kind}IdentifierValue")
        linked += texts(root, f"related{kind}Identifier/related{kind}IdentifierValue")
        assert linked, kind
        assert set(linked) <= there
    assert len(set(texts(root, "eventIdentifier/eventIdentifierValue"))) == 4


def test_both_files_are_described_and_linked(folder: Path) -> None:
    root = ET.fromstring((folder / "reel_rst.mkv.premis.xml").read_bytes())
    record = json.loads((folder / "reel_rst.mkv.json").read_bytes())
    restored = folder / "reel_rst.mkv"
    source = folder.parents[2] / "reel.mkv"
    digests = [hashlib.sha256(path.read_bytes()).hexdigest() for path in (source, restored)]
    assert texts(root, "fixity/messageDigest") == digests
    sizes = [str(path.stat().st_size) for path in (source, restored)]
    assert texts(root, "objectCharacteristics/size") == sizes
    assert texts(root, "originalName") == [str(source)]
    assert texts(root, "relatedObjectIdentifier/relatedObjectIdentifierValue") == digests[::-1]
    assert texts(root, "relationshipSubType") == ["is source of", "has source"]
    assert texts(root, "formatRegistryKey") == ["fmt/569", "fdd000343"]
    assert texts(root, "agentVersion") == ["0.1.0", "0.1.0"]
    assert WEIGHTS in texts(root, "agentIdentifierValue")
    detail = texts(root, "eventDetail")[1]
    for fact in (WEIGHTS, Recipe().digest, record["work_key"], "strength=1.0"):
        assert fact in detail
    assert "2 of 4 frames" in texts(root, "eventOutcomeDetailNote")[1]
    assert record["row"]["digital_source_type"] in texts(root, "eventOutcomeDetailNote")[1]


def test_the_format_is_the_version_it_says(folder: Path) -> None:
    """DocTypeVersion (4287) of EBML's head is 4."""
    head = (folder / "reel_rst.mkv").read_bytes()[:4096]
    assert b"\x42\x87\x81\x04" in head
    assert b"V_FFV1" in head
    root = ET.fromstring((folder / "reel_rst.mkv.premis.xml").read_bytes())
    assert texts(root, "formatVersion") == ["4", "FFV1 version 3"]


def test_a_checksum_of_the_manifest_makes_a_fixity_check(folder: Path) -> None:
    root = ET.fromstring((folder / "reel_rst.mkv.premis.xml").read_bytes())
    last = ["modification", "validation", "message digest calculation"]
    assert texts(root, "eventType") == ["fixity check", *last]
    plain = ET.fromstring(document())
    assert texts(plain, "eventType") == ["message digest calculation", *last]
    assert texts(plain, "eventDateTime") == [
        "2026-01-01T00:00:00+00:00", *["2026-01-02T03:04:05+00:00"] * 3
    ]  # fmt: skip
    assert all(re.fullmatch(ISO_8601, at) for at in texts(root, "eventDateTime"))


def test_equal_work_gives_an_equal_document_but_for_the_times() -> None:
    early, late = document(), document(at="2031-01-01T00:00:00+00:00")
    assert early == document() and early != late
    times = re.compile(rb"(?<=<premis:eventDateTime>)[^<]+")
    assert times.sub(b"", early) == times.sub(b"", late)


def test_names_with_markup_survive() -> None:
    root = ET.fromstring(document())
    assert texts(root, "originalName") == ["s3://films/Reel & <1>.mov"]
