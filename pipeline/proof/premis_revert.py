"""The PREMIS document of a clip after a revert: the former document, with the new file added.

In PREMIS a file never changes: a revert makes a new one (`pipeline.proof.premis` has the rest).
"""

from __future__ import annotations

from dataclasses import dataclass
from xml.etree import ElementTree as ET

from pipeline.proof.premis import (
    Restoration,
    deletion,
    derivation,
    derived_events,
    derived_object,
    event,
    linked_object,
    program_agent,
    proof_events,
    restored_object,
)
from pipeline.proof.premis_elements import NAMESPACE, identifier, node, term
from pipeline.proof.record import Digest

EVENT = "revert"


@dataclass(frozen=True)
class PutBack:
    """The facts of a revert. `former` is the file that it was made from, with the source."""

    work: Restoration  # `restored` is the new file, `at` the time of the revert
    former: Digest
    what: str  # frames and region
    by: str  # who asked for it
    note: str
    deleted: Digest | None = None  # an access copy of the former file


def amended(former: bytes, facts: PutBack) -> bytes:
    """The former document with the new file, its events and its agents. Raises ValueError.

    Nothing of the former document is left out.
    """
    work = facts.work
    new = [
        restored_object(
            work,
            derivation("has source", "", facts.former, EVENT, work),
            derivation("has source", "", work.source, EVENT, work),
        ),
        *(derived_object(one, work) for one in work.derived),
        _revert_event(facts),
        *proof_events(work),
        *(one for derived in work.derived for one in derived_events(derived, work)),
    ]
    if facts.deleted:
        why = "an access copy is only of what was accepted, and the picture was changed"
        new.append(deletion(facts.deleted, why, work.at, work))
    return merged(parsed(former), new, [program_agent(work), person(facts.by)])


def parsed(document: bytes) -> ET.Element:
    """The root of a document. Raises ValueError if it is not XML."""
    try:
        return ET.fromstring(document)
    except ET.ParseError as error:
        raise ValueError(f"the PREMIS document is not XML: {error}") from error


def merged(root: ET.Element, new: list[ET.Element], agents: list[ET.Element]) -> bytes:
    """The document with new parts, and with those agents that it does not have."""
    parts = [*root, *new, *(agent for agent in agents if is_new(agent, root))]
    root[:] = [part for kind in ("object", "event", "agent", "rights") for part in _of(kind, parts)]
    ET.indent(root)
    return bytes(ET.tostring(root, encoding="UTF-8", xml_declaration=True)) + b"\n"


def _revert_event(facts: PutBack) -> ET.Element:
    work = facts.work
    role = term("linkingAgentRole", "authorizer", "eventRelatedAgentRole", "aut")
    note = f"; note: {facts.note}" if facts.note else ""
    return event(
        EVENT,
        term("eventType", "modification", "eventType", "mod"),
        work.at,
        f"pixels of the source put back: {facts.what}{note}",
        f"changed: {work.changes}",
        work,
        identifier("linkingAgent", "local", facts.by, role),
        linked_object(facts.former, "source"),
        linked_object(work.source, "source"),
        linked_object(work.restored, "outcome"),
    )


def person(name: str) -> ET.Element:
    """A person as an agent."""
    return node(
        "agent",
        identifier("agent", "local", name),
        node("agentName", name),
        term("agentType", "person", "agentType", "per"),
    )


def _of(kind: str, parts: list[ET.Element]) -> list[ET.Element]:
    return [part for part in parts if part.tag == f"{{{NAMESPACE}}}{kind}"]


def is_new(part: ET.Element, root: ET.Element) -> bool:
    """Whether no object or agent of the document has the identifier of this one."""
    kind = part.tag.removeprefix(f"{{{NAMESPACE}}}")
    path = f"{{{NAMESPACE}}}{kind}Identifier/{{{NAMESPACE}}}{kind}IdentifierValue"
    return part.findtext(path) not in [other.findtext(path) for other in _of(kind, list(root))]
