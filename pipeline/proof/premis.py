"""The PREMIS 3.0 document of a restored file: its files, the events, and the agents.

Order and occurrence of the elements follow the schema http://www.loc.gov/premis/v3 (premis.xsd,
2016-01-18). Terms are those of the Library of Congress (id.loc.gov/vocabulary/preservation). The
SHA-256 identifies objects and the model. Equal work gives equal documents, except for the times of
the events.
"""

from __future__ import annotations

import platform
from dataclasses import dataclass
from importlib.metadata import version
from typing import NamedTuple, Protocol
from xml.etree import ElementTree as ET

from pipeline.clip.changes import Changes, digital_source_type
from pipeline.clip.clip import Clip
from pipeline.clip.put_back import Plan
from pipeline.clip.survey import Survey
from pipeline.proof.premis_elements import (
    NAMESPACE,
    SCHEMA,
    XSI,
    characteristics,
    file_format,
    file_object,
    identifier,
    node,
    term,
)
from pipeline.proof.record import Digest
from pipeline.runs.settings import Settings

# Software that affects the result, besides this program.
MOST_PARTS = 20  # that were put back, in the words of an event; the record lists all
_LIBRARIES = ("av", "numpy", "opencv-python-headless", "torch")


class DerivedFile(NamedTuple):
    """A file derived from the master: its profile, its format, and what was checked."""

    file: Digest
    profile: str
    format: str
    checked: str


@dataclass(frozen=True)
class Restoration:
    """The facts of the document. `at`: when `restored` was made and verified, ISO 8601 in UTC."""

    clip: Clip
    survey: Survey
    settings: Settings
    changes: Changes
    restored: Digest
    at: str
    derived: tuple[DerivedFile, ...] = ()
    put_back: Plan = ()  # to the source, before the file was published

    @property
    def code(self) -> str:
        """Version of this program."""
        return self.settings.code

    @property
    def source(self) -> Digest:
        """The source, with its address as the name."""
        size = int(self.survey.source_token.partition(":")[0])
        return Digest(self.survey.source_uri, size, self.survey.source_sha256)

    @property
    def program(self) -> str:
        """Name and version of this program."""
        return f"archive-restore {self.settings.code}"

    def event_id(self, event: str) -> str:
        """The identifier of an event. It is the same each time the same file is made."""
        return f"{self.restored.sha256}/{event}"


def premis_xml(work: Restoration) -> bytes:
    """The document in UTF-8."""
    root = ET.Element(f"{{{NAMESPACE}}}premis", {"version": "3.0"})
    root.set(f"{{{XSI}}}schemaLocation", f"{NAMESPACE} {SCHEMA}")
    root.extend(
        [_source(work), _restored(work), *(derived_object(one, work) for one in work.derived)]
    )
    root.extend([_fixity_event(work), _restoration_event(work), *proof_events(work)])
    root.extend(event for one in work.derived for event in derived_events(one, work))
    root.extend([program_agent(work), _model(work)])
    ET.indent(root)
    return bytes(ET.tostring(root, encoding="UTF-8", xml_declaration=True)) + b"\n"


# ---- objects -------------------------------------------------------------------------------------


def _source(work: Restoration) -> ET.Element:
    probe = work.survey.probe
    designation = node("formatName", f"{probe.codec} in {probe.container}")
    note = node("formatNote", "codec and container as FFmpeg names them")
    return file_object(
        identifier("object", "SHA-256", work.source.sha256),
        characteristics(work.source, node("format", node("formatDesignation", designation), note)),
        node("originalName", work.source.name),
        derivation("is source of", "iso", work.restored, "restoration", work),
    )


def _restored(work: Restoration) -> ET.Element:
    return restored_object(work, derivation("has source", "", work.source, "restoration", work))


def restored_object(work: Restoration, *origins: ET.Element) -> ET.Element:
    """The restored file as an object, with its relationships to the files it was made from."""
    container = file_format("Matroska", "4", "PRONOM", "fmt/569")
    registry = "Library of Congress Sustainability of Digital Formats"
    picture = file_format("FFV1 in Matroska", "FFV1 version 3", registry, "fdd000343")
    return file_object(
        identifier("object", "SHA-256", work.restored.sha256),
        identifier("object", "local", work.restored.name),
        characteristics(work.restored, container, picture, _creator(work)),
        *origins,
        *(derivation("is source of", "iso", one.file, one.profile, work) for one in work.derived),
    )


def derived_object(one: DerivedFile, work: Made) -> ET.Element:
    name = node("format", node("formatDesignation", node("formatName", one.format)))
    return file_object(
        identifier("object", "SHA-256", one.file.sha256),
        identifier("object", "local", one.file.name),
        characteristics(one.file, name, _creator(work)),
        derivation("has source", "", work.restored, one.profile, work),
    )


def _creator(work: Made) -> ET.Element:
    return node(
        "creatingApplication",
        node("creatingApplicationName", "archive-restore"),
        node("creatingApplicationVersion", work.code),
    )


def derivation(subtype: str, code: str, other: Digest, event: str, work: Subject) -> ET.Element:
    return node(
        "relationship",
        term("relationshipType", "derivation", "relationshipType", "der"),
        term("relationshipSubType", subtype, "relationshipSubType", code),
        identifier("relatedObject", "SHA-256", other.sha256),
        identifier("relatedEvent", "local", work.event_id(event)),
    )


# ---- events --------------------------------------------------------------------------------------


def _fixity_event(work: Restoration) -> ET.Element:
    """The source compared with the manifest's checksum, or else its SHA-256 computed."""
    at = work.survey.surveyed or work.at
    checksum, note = work.clip.checksum, f"SHA-256 {work.source.sha256}"
    kind = term("eventType", "message digest calculation", "eventType", "mes")
    detail = "the manifest has no checksum of the source"
    if checksum:
        kind = term("eventType", "fixity check", "eventType", "fix")
        detail = f"the manifest's checksum is {str(checksum).lower()}"
    return event(
        "source-fixity", kind, at, detail, note, work, linked_object(work.source, "source")
    )


def _restoration_event(work: Restoration) -> ET.Element:
    recipe = work.settings.recipe
    facts: dict[str, object] = {
        "recipe": recipe.name, "recipe_sha256": recipe.digest, "model": recipe.model,
        "weights_sha256": work.settings.weights_sha256,
        "strength": recipe.strength, "deflicker": recipe.deflicker,
        "interlace": work.survey.interlace, "frames_left": work.survey.frames_left,
        "protected": " ".join(work.survey.protect) or "none",
        "frames_filled": work.survey.filled or "none",
        "put_back": _put_back(work.put_back) or "none",
        "blanking": work.survey.blanking, "gaps": ", ".join(work.survey.gaps) or "none",
        "work_key": work.settings.work_key(work.source.sha256, work.clip),
    }  # fmt: skip
    source_type = digital_source_type(work.changes.frames, len(work.survey.fill))
    return event(
        "restoration",
        term("eventType", "modification", "eventType", "mod"),
        work.at,
        "; ".join(f"{key}={value}" for key, value in facts.items()),
        f"changed: {work.changes}; digitalSourceType={source_type}",
        work,
        identifier("linkingAgent", "SHA-256", work.settings.weights_sha256),
        linked_object(work.source, "source"),
        linked_object(work.restored, "outcome"),
    )


def _put_back(plan: Plan) -> str:
    """What was put back and why, in words."""
    return ", ".join(f"{one} ({one.rule or one.why})" for one in plan[:MOST_PARTS]) + (
        f" and {len(plan) - MOST_PARTS} more" if len(plan) > MOST_PARTS else ""
    )


def proof_events(work: Restoration) -> list[ET.Element]:
    decoded = "decoded again; every frame, timestamp and packet compared with what was sent"
    digests = "SHA-256 of the file, MD5 of every frame"
    return [
        event(
            "validation",
            term("eventType", "validation", "eventType", "val"),
            work.at, decoded, f"{work.changes.of_frames} frames are as sent", work,
            linked_object(work.restored, "source"),
        ),
        event(
            "digest",
            term("eventType", "message digest calculation", "eventType", "mes"),
            work.at, digests, f"SHA-256 {work.restored.sha256}", work,
            linked_object(work.restored, "source"),
        ),
    ]  # fmt: skip


def derived_events(one: DerivedFile, work: Made) -> list[ET.Element]:
    """The creation of a derived file, and its validation."""
    made = f"profile={one.profile}; {one.format}"
    return [
        event(
            one.profile,
            term("eventType", "creation", "eventType", "cre"),
            work.at, made, f"SHA-256 {one.file.sha256}", work,
            linked_object(work.restored, "source"), linked_object(one.file, "outcome"),
        ),
        event(
            f"{one.profile}-validation",
            term("eventType", "validation", "eventType", "val"),
            work.at, "decoded again and compared with the restored file; policy of the profile",
            one.checked, work, linked_object(one.file, "source"),
        ),
    ]  # fmt: skip


class Subject(Protocol):
    """What an event is about: it names the event and the program."""

    @property
    def program(self) -> str:
        """Name and version of the program."""

    def event_id(self, event: str) -> str:
        """The identifier of an event."""


class Made(Subject, Protocol):
    """What made a file from the master."""

    @property
    def restored(self) -> Digest:
        """The master."""

    @property
    def at(self) -> str:
        """When, ISO 8601 in UTC."""

    @property
    def code(self) -> str:
        """Version of the program."""


def deletion(file: Digest, why: str, at: str, work: Subject) -> ET.Element:
    """The event that a file was deleted."""
    kind = term("eventType", "deletion", "eventType", "del")
    name = f"deletion-{file.name}"
    return event(name, kind, at, why, f"SHA-256 {file.sha256}", work, linked_object(file, "source"))


def event(
    name: str,
    kind: ET.Element,
    at: str,
    detail: str,
    note: str,
    work: Subject,
    *links: ET.Element,
) -> ET.Element:
    """A successful event: only successful work is published. Links: agents, then objects."""
    role = term("linkingAgentRole", "executing program", "eventRelatedAgentRole", "exe")
    return node(
        "event",
        identifier("event", "local", work.event_id(name)),
        kind,
        node("eventDateTime", at),
        node("eventDetailInformation", node("eventDetail", detail)),
        node(
            "eventOutcomeInformation",
            term("eventOutcome", "success", "eventOutcome"),
            node("eventOutcomeDetail", node("eventOutcomeDetailNote", note)),
        ),
        identifier("linkingAgent", "local", work.program, role),
        *links,
    )


def linked_object(file: Digest, role: str) -> ET.Element:
    code = {"source": "sou", "outcome": "out"}[role]
    as_what = term("linkingObjectRole", role, "eventRelatedObjectRole", code)
    return identifier("linkingObject", "SHA-256", file.sha256, as_what)


# ---- agents --------------------------------------------------------------------------------------


def program_agent(work: Restoration) -> ET.Element:
    return agent_of(work.program, work.settings.code)


def agent_of(program: str, code: str) -> ET.Element:
    """This program as an agent."""
    libraries = ", ".join(f"{name} {version(name)}" for name in _LIBRARIES)
    return node(
        "agent",
        identifier("agent", "local", program),
        node("agentName", "archive-restore"),
        term("agentType", "software", "agentType", "sof"),
        node("agentVersion", code),
        node("agentNote", f"Python {platform.python_version()}, {libraries}"),
    )


def _model(work: Restoration) -> ET.Element:
    weights = work.settings.weights_sha256
    return node(
        "agent",
        identifier("agent", "SHA-256", weights),
        node("agentName", f"archive-restore model {work.settings.recipe.model}"),
        term("agentType", "software", "agentType", "sof"),
        node("agentVersion", work.settings.code),
        node("agentNote", f"video diffusion model, weights SHA-256 {weights}"),
    )
