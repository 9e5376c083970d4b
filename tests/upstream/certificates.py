"""Certificates that servers show, good ones and each kind of bad one; handshakes in memory."""

import datetime as dt
import ssl
from collections.abc import Callable
from pathlib import Path

import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

DAY = dt.timedelta(days=1)
NOW = dt.datetime.now(dt.UTC)
NAME = "dot.example.org"
ADDRESS = "127.0.0.1"


class Certificates:
    """An authority that upstreams are verified with (`ca` is its file), and what servers may show."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.authority = trustme.CA()
        self.ca = str(folder / "ca.pem")
        self.authority.cert_pem.write_to_path(self.ca)
        self.stranger = trustme.CA()

    def good(self, *identities: str, authority: trustme.CA | None = None) -> ssl.SSLContext:
        """For the name and the address, unless told otherwise."""
        return _server((authority or self.authority).issue_cert(*(identities or (NAME, ADDRESS))))

    def expired(self) -> ssl.SSLContext:
        return _server(self.authority.issue_cert(NAME, ADDRESS, not_before=NOW - 9 * DAY, not_after=NOW - DAY))

    def not_yet_valid(self) -> ssl.SSLContext:
        return _server(self.authority.issue_cert(NAME, ADDRESS, not_before=NOW + DAY, not_after=NOW + 9 * DAY))

    def wrong_name(self) -> ssl.SSLContext:
        return self.good("other.example.org", "192.0.2.1")

    def unknown_issuer(self) -> ssl.SSLContext:
        return self.good(authority=self.stranger)

    def self_signed(self) -> ssl.SSLContext:
        return self_signed(self.folder)


def _server(issued: trustme.LeafCert) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    issued.configure_cert(context)
    return context


def self_signed(folder: Path) -> ssl.SSLContext:
    """A certificate for the address that vouches for itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, NAME)])
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), NOW - DAY, NOW + DAY)
    certificate = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(NAME)]), critical=False)
    path = folder / "self-signed.pem"
    path.write_bytes(
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        + certificate.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM)
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    return context


def shake_hands(
    wrap: Callable[[ssl.MemoryBIO, ssl.MemoryBIO], ssl.SSLObject], server: ssl.SSLContext
) -> tuple[ssl.SSLObject, ssl.SSLObject]:
    """Both ends of a connection in memory; the client's error goes on. The server has said a word, which is read."""
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    client, served = wrap(to_client, to_server), server.wrap_bio(to_server, to_client, server_side=True)
    for end in (client, served, client, served):
        try:
            end.do_handshake()
        except ssl.SSLWantReadError:
            pass
    served.write(b"hello")
    assert client.read() == b"hello"
    return client, served
