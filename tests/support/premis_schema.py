"""The structure that the PREMIS schema requires, and the breaches of a document.

`SCHEMA` is written from premis.xsd 3.0 (2016-01-18): for every element in use, its children in
order and how often each may appear.
"""

from __future__ import annotations

import re
from xml.etree import ElementTree as ET

from pipeline.proof.premis import NAMESPACE

# child: "" exactly one, "?" at most one, "+" one or more, "*" any number
SCHEMA: dict[str, dict[str, str]] = {
    "premis": {"object": "+", "event": "*", "agent": "*", "rights": "*"},
    "object": {
        "objectIdentifier": "+", "preservationLevel": "*", "significantProperties": "*",
        "objectCharacteristics": "+", "originalName": "?", "storage": "*",
        "signatureInformation": "*", "relationship": "*", "linkingEventIdentifier": "*",
        "linkingRightsStatementIdentifier": "*",
    },
    "objectCharacteristics": {
        "compositionLevel": "?", "fixity": "*", "size": "?", "format": "+",
        "creatingApplication": "*", "inhibitors": "*", "objectCharacteristicsExtension": "*",
    },
    "fixity": {"messageDigestAlgorithm": "", "messageDigest": "", "messageDigestOriginator": "?"},
    "format": {"formatDesignation": "", "formatRegistry": "?", "formatNote": "*"},
    "formatDesignation": {"formatName": "", "formatVersion": "?"},
    "formatRegistry": {
        "formatRegistryName": "", "formatRegistryKey": "", "formatRegistryRole": "?",
    },
    "creatingApplication": {
        "creatingApplicationName": "", "creatingApplicationVersion": "?",
        "dateCreatedByApplication": "?", "creatingApplicationExtension": "*",
    },
    "relationship": {
        "relationshipType": "", "relationshipSubType": "", "relatedObjectIdentifier": "+",
        "relatedEventIdentifier": "*", "relatedEnvironmentPurpose": "*",
        "relatedEnvironmentCharacteristic": "?",
    },
    "event": {
        "eventIdentifier": "", "eventType": "", "eventDateTime": "", "eventDetailInformation": "*",
        "eventOutcomeInformation": "*", "linkingAgentIdentifier": "*",
        "linkingObjectIdentifier": "*",
    },
    "eventDetailInformation": {"eventDetail": "?", "eventDetailExtension": "*"},
    "eventOutcomeInformation": {"eventOutcome": "", "eventOutcomeDetail": "*"},
    "eventOutcomeDetail": {"eventOutcomeDetailNote": "", "eventOutcomeDetailExtension": "*"},
    "agent": {
        "agentIdentifier": "+", "agentName": "*", "agentType": "?", "agentVersion": "?",
        "agentNote": "*", "agentExtension": "*", "linkingEventIdentifier": "*",
        "linkingRightsStatementIdentifier": "*", "linkingEnvironmentIdentifier": "*",
    },
    "objectIdentifier": {"objectIdentifierType": "", "objectIdentifierValue": ""},
    "eventIdentifier": {"eventIdentifierType": "", "eventIdentifierValue": ""},
    "agentIdentifier": {"agentIdentifierType": "", "agentIdentifierValue": ""},
    "relatedObjectIdentifier": {
        "relatedObjectIdentifierType": "", "relatedObjectIdentifierValue": "",
        "relatedObjectSequence": "?",
    },
    "relatedEventIdentifier": {
        "relatedEventIdentifierType": "", "relatedEventIdentifierValue": "",
        "relatedEventSequence": "?",
    },
    "linkingAgentIdentifier": {
        "linkingAgentIdentifierType": "", "linkingAgentIdentifierValue": "",
        "linkingAgentRole": "*",
    },
    "linkingObjectIdentifier": {
        "linkingObjectIdentifierType": "", "linkingObjectIdentifierValue": "",
        "linkingObjectRole": "*",
    },
}  # fmt: skip
# stringPlusAuthority: the only elements of ours that may have attributes, and these alone
AUTHORITY = {"authority", "authorityURI", "valueURI"}
WITH_AUTHORITY = {
    "messageDigestAlgorithm", "relationshipType", "relationshipSubType", "eventType",
    "eventOutcome", "agentType", "linkingAgentRole", "linkingObjectRole",
}  # fmt: skip
XSI = "{http://www.w3.org/2001/XMLSchema-instance}"


def local_name(element: ET.Element) -> str:
    assert element.tag.startswith(f"{{{NAMESPACE}}}"), element.tag
    return element.tag.partition("}")[2]


def breaches(element: ET.Element) -> list[str]:
    """Every breach of the schema in an element and its descendants."""
    name = local_name(element)
    found = [breach for child in element for breach in breaches(child)]
    if name not in SCHEMA:
        empty = [f"{name} has no text"] if not (element.text or "").strip() else []
        return [*found, *empty, *([f"{name} has children"] if len(element) else [])]
    children = "".join(f"<{local_name(child)}>" for child in element)
    model = "".join(f"(<{child}>){often}" for child, often in SCHEMA[name].items())
    if not re.fullmatch(model, children):
        found.append(f"{name} holds {children}")
    return found


def wrong_attributes(root: ET.Element) -> list[str]:
    allowed = {"premis": {"version", f"{XSI}schemaLocation"}, "object": {f"{XSI}type"}}
    allowed |= dict.fromkeys(WITH_AUTHORITY, AUTHORITY)
    return [
        f"{local_name(element)} {name}"
        for element in root.iter()
        for name in set(element.attrib) - allowed.get(local_name(element), set())
    ]


def texts(root: ET.Element, path: str) -> list[str]:
    steps = "/".join(f"{{{NAMESPACE}}}{step}" for step in path.split("/"))
    return [element.text or "" for element in root.findall(f".//{steps}")]
