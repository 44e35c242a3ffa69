"""The key that signs C2PA manifests, and its certificates: two PEM files, checked before use.

Only the process that signs reads them. They are never in the environment, in a record or in a log.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Self

from schemas.errors import ArchiveError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

MISSING = "signing needs c2pa-python: pip install 'archive-restore[c2pa]'"
_MOST_BYTES = 1 << 20  # no key and no chain is larger
_CURVES = {"secp256r1": "es256", "secp384r1": "es384", "secp521r1": "es512"}


@dataclass(frozen=True)
class SigningKey:
    """A private key with its certificate chain, the certificate of the key first."""

    algorithm: str  # as C2PA names it, such as es256
    chain: bytes = field(repr=False)  # PEM
    key: bytes = field(repr=False)  # PEM, PKCS #8
    subject: str  # of the certificate, RFC 4514
    sha256: str  # of the certificate

    @classmethod
    def load(cls, key: Path, certificate: Path) -> Self:
        """Read both files. Raises ArchiveError if one is of no use, or if others read the key."""
        try:
            from cryptography import x509
            from cryptography.hazmat.primitives import hashes, serialization
        except ImportError as error:
            raise ArchiveError(MISSING) from error
        private, chain = _read(key, "key", secret=True), _read(certificate, "certificate")
        try:
            loaded = serialization.load_pem_private_key(private, None)
        except TypeError as error:
            raise ArchiveError(
                f"the key {key} has a password: give one without, in a file that only you may read"
            ) from error
        except ValueError as error:
            raise ArchiveError(f"the key {key} is no private key in PEM") from error
        try:
            leaf = x509.load_pem_x509_certificates(chain)[0]
        except ValueError as error:
            raise ArchiveError(f"the certificate {certificate} is no certificate in PEM") from error
        form = serialization.PublicFormat.SubjectPublicKeyInfo
        ours, theirs = (
            public.public_bytes(serialization.Encoding.DER, form)
            for public in (loaded.public_key(), leaf.public_key())
        )
        if ours != theirs:
            raise ArchiveError(
                f"the first certificate of {certificate} is not that of the key {key}: "
                "put the key's certificate first, then those that signed it"
            )
        now = datetime.now(UTC)
        if not leaf.not_valid_before_utc <= now <= leaf.not_valid_after_utc:
            raise ArchiveError(
                f"the certificate {certificate} counts from {leaf.not_valid_before_utc:%Y-%m-%d} "
                f"to {leaf.not_valid_after_utc:%Y-%m-%d}, not today: give a valid one"
            )
        plain = loaded.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        return cls(
            _algorithm(loaded, key), chain, plain, leaf.subject.rfc4514_string(),
            leaf.fingerprint(hashes.SHA256()).hex(),
        )  # fmt: skip


def _algorithm(key: PrivateKeyTypes, path: Path) -> str:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

    if isinstance(key, EllipticCurvePrivateKey) and key.curve.name in _CURVES:
        return _CURVES[key.curve.name]
    if isinstance(key, Ed25519PrivateKey):
        return "ed25519"
    if isinstance(key, RSAPrivateKey):
        return "ps256"
    raise ArchiveError(f"C2PA has no such key as {path}: give an EC (P-256), Ed25519 or RSA key")


def _read(path: Path, what: str, *, secret: bool = False) -> bytes:
    """The content of a regular file. A secret may be open to its owner alone: us, or root."""
    try:
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:
            found = os.fstat(file.fileno())
            if not stat.S_ISREG(found.st_mode):
                raise ArchiveError(f"the {what} {path} is no regular file")
            if secret and (found.st_mode & 0o077 or found.st_uid not in (os.geteuid(), 0)):
                raise ArchiveError(
                    f"the {what} {path} can be read by others, or is another user's: "
                    f"run `chmod 600 {path}`, and own it"
                )
            data = file.read(_MOST_BYTES + 1)
    except OSError as error:
        raise ArchiveError(f"the {what} {path} cannot be read: {error.strerror}") from error
    if len(data) > _MOST_BYTES:
        raise ArchiveError(f"the {what} {path} is larger than 1 MiB")
    return data
