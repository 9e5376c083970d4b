"""Verifies a QUIC upstream's certificate as the other encrypted transports do: same authorities, names and pins."""

from __future__ import annotations

import ipaddress
import ssl
from pathlib import Path
from typing import TYPE_CHECKING, Final

import service_identity
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID
from OpenSSL import crypto
from service_identity.cryptography import verify_certificate_hostname, verify_certificate_ip_address

from dnsproxy.upstream.options import TlsOptions
from dnsproxy.upstream.tls import REASONS, Refused, Trust

if TYPE_CHECKING:
    from dnsproxy.address import Address

MISMATCH: Final = "host name mismatch"
WRONG_PURPOSE: Final = "unsuitable certificate purpose"  # as OpenSSL says
NO_CERTIFICATE: Final = "no certificate"
TIMES: Final = (9, 10)  # X509_V_ERR_*: OpenSSL looks at names before it looks at the clock
SERVER_PURPOSES: Final = (ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE)


class QuicTrust:
    """How one upstream is verified; OSError when a PEM file will not do.

    aioquic does not say what is wrong with a certificate, reads the authorities for each connection, and knows others
    than the system's: it is told not to look, and nothing is asked before `verify` has.
    """

    def __init__(self, options: TlsOptions, address: Address) -> None:
        self.trust = Trust(options, address)
        self.server_name = self.trust.server_hostname
        self.store = _store(options.ca, int(self.trust.context.verify_flags))

    def verify(self, certificates: list[x509.Certificate]) -> None:
        """Refused, with the reason, unless the first of them is trusted to be the upstream's."""
        if not certificates:
            raise Refused(NO_CERTIFICATE)
        own, *others = [crypto.X509.from_cryptography(certificate) for certificate in certificates]
        context = crypto.X509StoreContext(self.store, own, others)
        chain: list[crypto.X509] = []
        problem = None
        try:
            chain = context.get_verified_chain()
        except crypto.X509StoreContextError as exc:
            problem = exc.errors[0]
            if problem not in TIMES:
                raise Refused(REASONS.get(problem, str(exc))) from exc
        self._check_name(certificates[0])
        if problem is not None:
            raise Refused(REASONS[problem])
        _check_purpose(certificates[0])
        self.trust.check_pins(one.to_cryptography().public_bytes(Encoding.DER) for one in chain)

    def _check_name(self, certificate: x509.Certificate) -> None:
        try:
            if _is_address(self.server_name):
                verify_certificate_ip_address(certificate, self.server_name)
            else:
                verify_certificate_hostname(certificate, self.server_name)
        except (service_identity.VerificationError, service_identity.CertificateError, ValueError) as exc:
            raise Refused(MISMATCH) from exc


def _check_purpose(certificate: x509.Certificate) -> None:
    try:
        purposes = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return  # good for all
    if not any(purpose in purposes for purpose in SERVER_PURPOSES):
        raise Refused(WRONG_PURPOSE)


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _store(ca: str | None, flags: int) -> crypto.X509Store:
    """The authorities of a file, or the system's."""
    store = crypto.X509Store()
    store.set_flags(flags)
    if ca is not None:
        store.load_locations(ca)
        return store
    paths = ssl.get_default_verify_paths()
    for cafile, capath in ((paths.cafile, None), (None, paths.capath)):
        if cafile or (capath and Path(capath).is_dir()):
            store.load_locations(cafile, capath)
    return store
