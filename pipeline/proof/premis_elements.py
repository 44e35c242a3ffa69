"""Build elements of PREMIS 3.0, in the order and occurrence of its schema."""

from __future__ import annotations

from xml.etree import ElementTree as ET

from pipeline.proof.record import Digest

NAMESPACE = "http://www.loc.gov/premis/v3"
SCHEMA = "https://www.loc.gov/standards/premis/premis.xsd"
XSI = "http://www.w3.org/2001/XMLSchema-instance"
_VOCABULARY = "http://id.loc.gov/vocabulary/preservation"

ET.register_namespace("premis", NAMESPACE)
ET.register_namespace("xsi", XSI)


def node(tag: str, *content: str | ET.Element) -> ET.Element:
    """An element with a text or with children, in order."""
    element = ET.Element(f"{{{NAMESPACE}}}{tag}")
    for part in content:
        if isinstance(part, str):
            element.text = part
        else:
            element.append(part)
    return element


def term(tag: str, text: str, vocabulary: str, code: str = "") -> ET.Element:
    """An element with a term of a vocabulary, and the address of the term if it has one."""
    element = node(tag, text)
    element.set("authority", vocabulary)
    element.set("authorityURI", f"{_VOCABULARY}/{vocabulary}")
    if code:
        element.set("valueURI", f"{_VOCABULARY}/{vocabulary}/{code}")
    return element


def identifier(kind: str, type: str, value: str, *role: ET.Element) -> ET.Element:
    """`<kind>Identifier`: type, value and, in a link, the role."""
    name = f"{kind}Identifier"
    return node(name, node(f"{name}Type", type), node(f"{name}Value", value), *role)


def file_object(*content: ET.Element) -> ET.Element:
    element = node("object", *content)
    element.set(f"{{{XSI}}}type", "premis:file")
    return element


def characteristics(file: Digest, *content: ET.Element) -> ET.Element:
    algorithm = term("messageDigestAlgorithm", "SHA-256", "cryptographicHashFunctions", "sha256")
    return node(
        "objectCharacteristics",
        node("compositionLevel", "0"),
        node("fixity", algorithm, node("messageDigest", file.sha256)),
        node("size", str(file.size)),
        *content,
    )


def file_format(name: str, edition: str, registry: str, key: str) -> ET.Element:
    return node(
        "format",
        node("formatDesignation", node("formatName", name), node("formatVersion", edition)),
        node(
            "formatRegistry",
            node("formatRegistryName", registry),
            node("formatRegistryKey", key),
        ),
    )
