"""The PREMIS document of a clip after a review: the former document, with the event added."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from pipeline.proof.premis import (
    DerivedFile,
    agent_of,
    deletion,
    derived_events,
    derived_object,
    event,
    linked_object,
)
from pipeline.proof.premis_elements import identifier, node, term
from pipeline.proof.premis_revert import is_new, merged, parsed, person
from pipeline.proof.record import Digest
from schemas.judgement import DECISIONS


class AccessChange(NamedTuple):
    """An access copy that was made, or deleted."""

    file: DerivedFile
    made: bool


@dataclass(frozen=True)
class Looked:
    """The facts of a review of the file `master`. `review` is a row of tables/reviews."""

    master: Digest
    code: str  # version of this program
    at: str  # ISO 8601 in UTC
    review: Mapping[str, object]
    sentence: str  # of the verdict; may be empty
    access: AccessChange | None = None  # the access copy that appears or goes with it

    @property
    def program(self) -> str:
        """Name and version of this program."""
        return f"archive-restore {self.code}"

    @property
    def restored(self) -> Digest:
        """The file that was reviewed."""
        return self.master

    def event_id(self, event: str) -> str:
        """The identifier of the event."""
        return f"{self.master.sha256}/{event}-{self.review['run']}"


def reviewed(former: bytes, facts: Looked) -> bytes:
    """The former document with the event and its agents. Raises ValueError if it is not XML.

    The vocabulary of event types has no review by a person, so its type is a term of our own.
    """
    review = facts.review
    decision, by = str(review["decision"]), str(review["by"])
    region = review.get("region")
    what = f"region {region}" if region else DECISIONS[decision]
    seen = f"verdict {review['verdict'] or 'unknown'}"
    note = f"; note: {review['note']}" if review["note"] else ""
    role = term("linkingAgentRole", "authorizer", "eventRelatedAgentRole", "aut")
    looked = event(
        "review",
        node("eventType", "quality review"),
        facts.at,
        f"{seen}: {facts.sentence}" if facts.sentence else seen,
        f"{decision}: {what}{note}",
        facts,
        identifier("linkingAgent", "local", by, role),
        linked_object(facts.master, "source"),
    )
    root, new = parsed(former), [looked]
    if facts.access and facts.access.made:
        copy = derived_object(facts.access.file, facts)
        new += [copy] if is_new(copy, root) else []  # the same copy may be made again
        new += derived_events(facts.access.file, facts)
    elif facts.access:
        why = f"an access copy is only of what was accepted; the decision was {decision}"
        new.append(deletion(facts.access.file.file, why, facts.at, facts))
    return merged(root, new, [agent_of(facts.program, facts.code), person(by)])
