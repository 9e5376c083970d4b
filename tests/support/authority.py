"""Certificates for both ends of a TLS connection, from an authority of our own."""

import ssl
from pathlib import Path

import trustme


class Authority:
    """Issues certificates as PEM files in a folder."""

    def __init__(self, folder: Path) -> None:
        self._ca = trustme.CA()
        self.folder = folder
        self.ca = str(folder / "ca.pem")
        self._ca.cert_pem.write_to_path(self.ca)

    def issue(self, name: str, host: str = "127.0.0.1") -> dict[str, str]:
        """NAME-cert.pem and NAME-key.pem, anew if they exist; as a tap's keys `cert` and `key`."""
        issued = self._ca.issue_cert(host)
        paths = {key: str(self.folder / f"{name}-{key}.pem") for key in ("cert", "key")}
        issued.cert_chain_pems[0].write_to_path(paths["cert"])
        issued.private_key_pem.write_to_path(paths["key"])
        return paths

    def server(self, name: str = "collector", *, demands: bool = False) -> ssl.SSLContext:
        """For collectors that listen; with `demands` clients must have a certificate of ours."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        paths = self.issue(name)
        context.load_cert_chain(paths["cert"], paths["key"])
        if demands:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(self.ca)
        return context

    def client(self, name: str | None = None) -> ssl.SSLContext:
        """For collectors that dial in; with a name they have a certificate."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(self.ca)
        if name is not None:
            paths = self.issue(name)
            context.load_cert_chain(paths["cert"], paths["key"])
        return context


def certificate(path: str) -> bytes:
    """The first certificate of a PEM file, as DER."""
    return ssl.PEM_cert_to_DER_cert(Path(path).read_text())
