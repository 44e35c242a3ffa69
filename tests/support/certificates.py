"""Keys and certificates for tests of signatures, made when they are needed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

PEM = serialization.Encoding.PEM


@dataclass(frozen=True)
class Signer:
    """A private key, its certificate chain, and the certificate at the end of the chain."""

    key: Path
    chain: Path
    anchor: Path


def signer(folder: Path, days: int = 30) -> Signer:
    """Write a key that counts for `days` from yesterday, and the certificates, into a folder."""
    folder.mkdir(exist_ok=True)
    root, own = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    authority = _certificate("Test authority", root, "Test authority", root, 365)
    leaf = _certificate("Test archive", own, "Test authority", root, days)
    made = Signer(folder / "signing.key", folder / "chain.pem", folder / "anchor.pem")
    form = serialization.PrivateFormat.PKCS8
    made.key.touch(0o600)
    made.key.write_bytes(own.private_bytes(PEM, form, serialization.NoEncryption()))
    made.chain.write_bytes(leaf.public_bytes(PEM) + authority.public_bytes(PEM))
    made.anchor.write_bytes(authority.public_bytes(PEM))
    return made


def _certificate(
    name: str,
    key: ec.EllipticCurvePrivateKey,
    issuer: str,
    signed_by: ec.EllipticCurvePrivateKey,
    days: int,
) -> x509.Certificate:
    """A certificate of the profile that C2PA asks for."""
    begin, authority = datetime.now(UTC) - timedelta(days=2), name == issuer
    usage = dict.fromkeys(
        ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
         "encipher_only", "decipher_only"), False,
    )  # fmt: skip
    usage |= {
        "digital_signature": True, "key_cert_sign": authority, "crl_sign": authority,
    }  # fmt: skip
    build = (
        x509.CertificateBuilder()
        .subject_name(_named(name))
        .issuer_name(_named(issuer))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(begin + timedelta(days=1 + days))
        .add_extension(x509.BasicConstraints(authority, None), critical=True)
        .add_extension(x509.KeyUsage(**usage), critical=True)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(signed_by.public_key()), False
        )
    )
    if not authority:
        purpose = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION])
        build = build.add_extension(purpose, critical=False)
    return build.sign(signed_by, hashes.SHA256())


def _named(name: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, name),
            x509.NameAttribute(NameOID.COMMON_NAME, name),
        ]
    )
