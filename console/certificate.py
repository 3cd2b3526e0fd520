"""An own certificate for a console that other machines reach: WHARFIE_TLS=self."""

from __future__ import annotations

import datetime
import ipaddress
import os
import socket
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from engine.storage.atomic import write_atomically

LIFETIME = datetime.timedelta(days=825)  # the longest that Apple's clients accept
RENEW_BEFORE = datetime.timedelta(days=30)


@dataclass(frozen=True)
class OwnCertificate:
    """Where it lies, and what a person compares with what the browser shows."""

    certificate: Path
    key: Path
    fingerprint: str


def own_certificate(directory: Path, hosts: list[str]) -> OwnCertificate:
    """The certificate in ``directory``; made at first use, when it nears its end, and for new hosts."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    certificate_path, key_path = directory / "certificate.pem", directory / "key.pem"
    try:
        certificate = x509.load_pem_x509_certificate(certificate_path.read_bytes())
        usable = key_path.exists() and still_good(certificate, hosts)
    except (FileNotFoundError, ValueError):
        usable = False
    if not usable:
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = make(key, hosts)
        pem = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        write_atomically(key_path, pem)
        write_atomically(certificate_path, certificate.public_bytes(serialization.Encoding.PEM))
    return OwnCertificate(certificate_path, key_path, certificate.fingerprint(hashes.SHA256()).hex(":").upper())


def still_good(certificate: x509.Certificate, hosts: list[str]) -> bool:
    """Whether the certificate names the hosts and lives for a while."""
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    fresh = certificate.not_valid_after_utc - datetime.datetime.now(datetime.UTC) > RENEW_BEFORE
    return fresh and all(general_name(host) in names for host in hosts)


def make(key: ec.EllipticCurvePrivateKey, hosts: list[str]) -> x509.Certificate:
    """A self-signed certificate for this machine's name, the given hosts and loopback."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"Wharfie on {os.uname().nodename}"[:64])])
    now = datetime.datetime.now(datetime.UTC)
    names = dict.fromkeys((*hosts, socket.gethostname(), "localhost", "127.0.0.1", "::1"))
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))  # clocks of other machines lag
        .not_valid_after(now + LIFETIME)
        .add_extension(x509.SubjectAlternativeName(general_name(entry) for entry in names), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )


def general_name(host: str) -> x509.GeneralName:
    """A name of a certificate: an address or a DNS name."""
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)
