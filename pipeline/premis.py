"""The PREMIS 3.0 document of a restored file: two files, what happened to them, and who did it.

Order and occurrence of the elements are those of the schema http://www.loc.gov/premis/v3
(premis.xsd, 2016-01-18); terms are the Library of Congress's (id.loc.gov/vocabulary/preservation).
Objects and the model are identified by their SHA-256, so equal work gives an equal document, but
for the times of its events.
"""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any
from xml.etree import ElementTree as ET

from pipeline.provenance import Changes, digital_source_type
from pipeline.record import Digest
from pipeline.run import Settings
from pipeline.survey import Survey

NAMESPACE = "http://www.loc.gov/premis/v3"
SCHEMA = "https://www.loc.gov/standards/premis/premis.xsd"
_XSI = "http://www.w3.org/2001/XMLSchema-instance"
_VOCABULARY = "http://id.loc.gov/vocabulary/preservation"
# Software that decides the result, beside the program itself.
_LIBRARIES = ("av", "numpy", "opencv-python-headless", "torch")

ET.register_namespace("premis", NAMESPACE)
ET.register_namespace("xsi", _XSI)


@dataclass(frozen=True)
class Restoration:
    """What the document tells of: `restored` was made and verified at `at`, ISO 8601 in UTC."""

    clip: Mapping[str, Any]  # its row of the manifest
    survey: Survey
    settings: Settings
    changes: Changes
    restored: Digest
    at: str

    @property
    def source(self) -> Digest:
        """The source, under its address."""
        size = int(self.survey.source_token.partition(":")[0])
        return Digest(self.survey.source_uri, size, self.survey.source_sha256)

    @property
    def program(self) -> str:
        """Name and version of this program."""
        return f"archive-restore {self.settings.code}"

    def event_id(self, event: str) -> str:
        """A name that is the same whenever the same file is made."""
        return f"{self.restored.sha256}/{event}"


def premis_xml(work: Restoration) -> bytes:
    """The document in UTF-8."""
    root = ET.Element(f"{{{NAMESPACE}}}premis", {"version": "3.0"})
    root.set(f"{{{_XSI}}}schemaLocation", f"{NAMESPACE} {SCHEMA}")
    root.extend([_source(work), _restored(work)])
    root.extend([_fixity_event(work), _restoration_event(work), *_proof_events(work)])
    root.extend([_program(work), _model(work)])
    ET.indent(root)
    return bytes(ET.tostring(root, encoding="UTF-8", xml_declaration=True)) + b"\n"


# ---- elements ------------------------------------------------------------------------------------


def _node(tag: str, *content: str | ET.Element) -> ET.Element:
    """An element with a text, or with children in order."""
    element = ET.Element(f"{{{NAMESPACE}}}{tag}")
    for part in content:
        if isinstance(part, str):
            element.text = part
        else:
            element.append(part)
    return element


def _term(tag: str, text: str, vocabulary: str, code: str = "") -> ET.Element:
    """An element with a term of a vocabulary, and the term's address where it has one."""
    element = _node(tag, text)
    element.set("authority", vocabulary)
    element.set("authorityURI", f"{_VOCABULARY}/{vocabulary}")
    if code:
        element.set("valueURI", f"{_VOCABULARY}/{vocabulary}/{code}")
    return element


def _identifier(kind: str, type: str, value: str, *role: ET.Element) -> ET.Element:
    """`<kind>Identifier`: type, value and, for a link, the role."""
    name = f"{kind}Identifier"
    return _node(name, _node(f"{name}Type", type), _node(f"{name}Value", value), *role)


# ---- objects -------------------------------------------------------------------------------------


def _source(work: Restoration) -> ET.Element:
    probe = work.survey.probe
    designation = _node("formatName", f"{probe.codec} in {probe.container}")
    note = _node("formatNote", "codec and container as FFmpeg names them")
    return _file(
        _identifier("object", "SHA-256", work.source.sha256),
        _characteristics(
            work.source, _node("format", _node("formatDesignation", designation), note)
        ),
        _node("originalName", work.source.name),
        _derivation("is source of", "iso", work.restored, work),
    )


def _restored(work: Restoration) -> ET.Element:
    creator = _node(
        "creatingApplication",
        _node("creatingApplicationName", "archive-restore"),
        _node("creatingApplicationVersion", work.settings.code),
    )
    container = _format("Matroska", "4", "PRONOM", "fmt/569")
    registry = "Library of Congress Sustainability of Digital Formats"
    picture = _format("FFV1 in Matroska", "FFV1 version 3", registry, "fdd000343")
    return _file(
        _identifier("object", "SHA-256", work.restored.sha256),
        _identifier("object", "local", work.restored.name),
        _characteristics(work.restored, container, picture, creator),
        _derivation("has source", "", work.source, work),
    )


def _file(*content: ET.Element) -> ET.Element:
    element = _node("object", *content)
    element.set(f"{{{_XSI}}}type", "premis:file")
    return element


def _characteristics(file: Digest, *content: ET.Element) -> ET.Element:
    algorithm = _term("messageDigestAlgorithm", "SHA-256", "cryptographicHashFunctions", "sha256")
    return _node(
        "objectCharacteristics",
        _node("compositionLevel", "0"),
        _node("fixity", algorithm, _node("messageDigest", file.sha256)),
        _node("size", str(file.size)),
        *content,
    )


def _format(name: str, edition: str, registry: str, key: str) -> ET.Element:
    return _node(
        "format",
        _node("formatDesignation", _node("formatName", name), _node("formatVersion", edition)),
        _node(
            "formatRegistry",
            _node("formatRegistryName", registry),
            _node("formatRegistryKey", key),
        ),
    )


def _derivation(subtype: str, code: str, other: Digest, work: Restoration) -> ET.Element:
    return _node(
        "relationship",
        _term("relationshipType", "derivation", "relationshipType", "der"),
        _term("relationshipSubType", subtype, "relationshipSubType", code),
        _identifier("relatedObject", "SHA-256", other.sha256),
        _identifier("relatedEvent", "local", work.event_id("restoration")),
    )


# ---- events --------------------------------------------------------------------------------------


def _fixity_event(work: Restoration) -> ET.Element:
    """The source against the manifest's checksum; without one, the taking of its SHA-256."""
    at = work.survey.surveyed or work.at
    checksum, note = work.clip.get("checksum"), f"SHA-256 {work.source.sha256}"
    kind = _term("eventType", "message digest calculation", "eventType", "mes")
    detail = "the manifest has no checksum of the source"
    if checksum:
        kind = _term("eventType", "fixity check", "eventType", "fix")
        detail = f"the manifest's checksum is {str(checksum).lower()}"
    return _event("source-fixity", kind, at, detail, note, work, _object(work.source, "source"))


def _restoration_event(work: Restoration) -> ET.Element:
    recipe = work.settings.recipe
    facts: dict[str, object] = {
        "recipe": recipe.name, "recipe_sha256": recipe.digest, "model": recipe.model,
        "weights_sha256": work.settings.weights_sha256, "steps": recipe.steps,
        "strength": recipe.strength, "deflicker": recipe.deflicker,
        "interlace": work.survey.interlace, "frames_left": work.survey.frames_left,
        "blanking": work.survey.blanking, "gaps": ", ".join(work.survey.gaps) or "none",
        "work_key": work.settings.work_key(work.source.sha256, work.clip),
    }  # fmt: skip
    term = digital_source_type(work.changes.frames, recipe.steps)
    return _event(
        "restoration",
        _term("eventType", "modification", "eventType", "mod"),
        work.at,
        "; ".join(f"{key}={value}" for key, value in facts.items()),
        f"changed: {work.changes}; digitalSourceType={term}",
        work,
        _identifier("linkingAgent", "SHA-256", work.settings.weights_sha256),
        _object(work.source, "source"),
        _object(work.restored, "outcome"),
    )


def _proof_events(work: Restoration) -> list[ET.Element]:
    decoded = "decoded again; every frame, timestamp and packet compared with what was sent"
    digests = "SHA-256 of the file, MD5 of every frame"
    return [
        _event(
            "validation",
            _term("eventType", "validation", "eventType", "val"),
            work.at, decoded, f"{work.changes.of_frames} frames are as sent", work,
            _object(work.restored, "source"),
        ),
        _event(
            "digest",
            _term("eventType", "message digest calculation", "eventType", "mes"),
            work.at, digests, f"SHA-256 {work.restored.sha256}", work,
            _object(work.restored, "source"),
        ),
    ]  # fmt: skip


def _event(
    name: str,
    kind: ET.Element,
    at: str,
    detail: str,
    note: str,
    work: Restoration,
    *links: ET.Element,
) -> ET.Element:
    """An event that succeeded: only what did is published. Links: agents first, then objects."""
    role = _term("linkingAgentRole", "executing program", "eventRelatedAgentRole", "exe")
    return _node(
        "event",
        _identifier("event", "local", work.event_id(name)),
        kind,
        _node("eventDateTime", at),
        _node("eventDetailInformation", _node("eventDetail", detail)),
        _node(
            "eventOutcomeInformation",
            _term("eventOutcome", "success", "eventOutcome"),
            _node("eventOutcomeDetail", _node("eventOutcomeDetailNote", note)),
        ),
        _identifier("linkingAgent", "local", work.program, role),
        *links,
    )


def _object(file: Digest, role: str) -> ET.Element:
    code = {"source": "sou", "outcome": "out"}[role]
    term = _term("linkingObjectRole", role, "eventRelatedObjectRole", code)
    return _identifier("linkingObject", "SHA-256", file.sha256, term)


# ---- agents --------------------------------------------------------------------------------------


def _program(work: Restoration) -> ET.Element:
    libraries = ", ".join(f"{name} {version(name)}" for name in _LIBRARIES)
    return _node(
        "agent",
        _identifier("agent", "local", work.program),
        _node("agentName", "archive-restore"),
        _term("agentType", "software", "agentType", "sof"),
        _node("agentVersion", work.settings.code),
        _node("agentNote", f"Python {platform.python_version()}, {libraries}"),
    )


def _model(work: Restoration) -> ET.Element:
    weights = work.settings.weights_sha256
    return _node(
        "agent",
        _identifier("agent", "SHA-256", weights),
        _node("agentName", f"archive-restore model {work.settings.recipe.model}"),
        _term("agentType", "software", "agentType", "sof"),
        _node("agentVersion", work.settings.code),
        _node("agentNote", f"video diffusion model, weights SHA-256 {weights}"),
    )
