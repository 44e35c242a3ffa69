"""Addresses: a path or a file:// address is a file, s3://bucket/key is an object."""

from pathlib import Path


def is_s3(uri: str | Path) -> bool:
    """Whether the address is that of an S3 object."""
    return isinstance(uri, str) and uri.startswith("s3://")


def join(uri: str | Path, *parts: str) -> str:
    """The address of `parts` below `uri`."""
    base = str(uri)
    tail = "/".join(part.strip("/") for part in parts if part.strip("/"))
    return f"{base.rstrip('/')}/{tail}" if tail else base
