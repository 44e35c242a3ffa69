"""The PREMIS document of a clip after a review: the former document, with the event added."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pipeline.proof.premis import agent_of, event, linked_object
from pipeline.proof.premis_elements import identifier, node, term
from pipeline.proof.premis_revert import merged, parsed, person
from pipeline.proof.record import Digest
from schemas.judgement import DECISIONS


@dataclass(frozen=True)
class Looked:
    """The facts of a review of the file `master`. `review` is a row of tables/reviews."""

    master: Digest
    code: str  # version of this program
    at: str  # ISO 8601 in UTC
    review: Mapping[str, object]
    sentence: str  # of the verdict; may be empty

    @property
    def program(self) -> str:
        """Name and version of this program."""
        return f"archive-restore {self.code}"

    def event_id(self, event: str) -> str:
        """The identifier of the event."""
        return f"{self.master.sha256}/{event}"


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
        f"review-{review['run']}",
        node("eventType", "quality review"),
        facts.at,
        f"{seen}: {facts.sentence}" if facts.sentence else seen,
        f"{decision}: {what}{note}",
        facts,
        identifier("linkingAgent", "local", by, role),
        linked_object(facts.master, "source"),
    )
    return merged(parsed(former), [looked], [agent_of(facts.program, facts.code), person(by)])
