"""The PREMIS document of a clip after its files were signed: the former document, with the events.

A file that holds its manifest is a new object, made from the one without it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple
from xml.etree import ElementTree as ET

from pipeline.media.profiles import FORMS
from pipeline.proof.premis import agent_of, event, linked_object
from pipeline.proof.premis_elements import (
    characteristics,
    file_object,
    identifier,
    node,
    term,
)
from pipeline.proof.premis_revert import merged, parsed
from pipeline.proof.record import Digest


class SignedFile(NamedTuple):
    """A signed file. `manifest` lies beside it; None if `file` is a new file that holds it."""

    file: Digest
    former: Digest
    manifest: Digest | None


@dataclass(frozen=True)
class Signature:
    """The facts of a signature of the files of a clip."""

    code: str  # version of this program
    at: str  # ISO 8601 in UTC
    files: tuple[SignedFile, ...]
    subject: str  # of the certificate
    certificate_sha256: str

    @property
    def program(self) -> str:
        """Name and version of this program."""
        return f"archive-restore {self.code}"

    def event_id(self, event: str) -> str:
        """The identifier of an event."""
        return f"{event}/{self.at}"


def signed(former: bytes, facts: Signature) -> bytes:
    """The former document with the events, new files and agents. Raises ValueError."""
    new = [part for one in facts.files for part in (*_object(one, facts), _event(one, facts))]
    signer = node(
        "agent",
        identifier("agent", "SHA-256", facts.certificate_sha256),
        node("agentName", facts.subject),
        term("agentType", "organization", "agentType", "org"),
        node("agentNote", "the subject of the certificate that the files were signed with"),
    )
    return merged(parsed(former), new, [agent_of(facts.program, facts.code), signer])


def _name(one: SignedFile) -> str:
    return f"{one.file.sha256}/signature"


def _object(one: SignedFile, facts: Signature) -> list[ET.Element]:
    """The new file, if the manifest lies in it."""
    if one.manifest is not None:
        return []
    title = next(form.title for form in FORMS.values() if one.file.name.endswith(form.suffix))
    name = node("format", node("formatDesignation", node("formatName", f"{title}, with C2PA")))
    return [
        file_object(
            identifier("object", "SHA-256", one.file.sha256),
            identifier("object", "local", one.file.name),
            characteristics(one.file, name),
            node(
                "relationship",
                term("relationshipType", "derivation", "relationshipType", "der"),
                term("relationshipSubType", "has source", "relationshipSubType"),
                identifier("relatedObject", "SHA-256", one.former.sha256),
                identifier("relatedEvent", "local", facts.event_id(_name(one))),
            ),
        )
    ]


def _event(one: SignedFile, facts: Signature) -> ET.Element:
    where = f"in {one.manifest.name}" if one.manifest else "in the file"
    digest = one.manifest or one.file
    role = term("linkingAgentRole", "authorizer", "eventRelatedAgentRole", "aut")
    outcome = [] if one.manifest else [linked_object(one.file, "outcome")]
    return event(
        _name(one),
        term("eventType", "digital signature generation", "eventType", "dig"),
        facts.at,
        f"C2PA manifest {where}, signed with c2pa-python and validated",
        f"SHA-256 {digest.sha256}",
        facts,
        identifier("linkingAgent", "SHA-256", facts.certificate_sha256, role),
        linked_object(one.former, "source"),
        *outcome,
    )
