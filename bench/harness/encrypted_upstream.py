"""The upstream of encrypted measurements: an unbound that answers every name of the zone by DoT and by DoH."""

import datetime as dt
import subprocess
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from harness import programs
from harness.children import Children
from harness.errors import BenchError
from harness.loopback import HOST, free_port, wait_for_answer
from harness.upstream import PROBE, ZONE
from harness.workloads import DOH, SERVER_NAME

DAY = dt.timedelta(days=1)

CONFIGURATION = """\
server:
  interface: {host}@{port}
  interface: {host}@{dot_port}
  interface: {host}@{doh_port}
  tls-port: {dot_port}
  https-port: {doh_port}
  tls-service-pem: "{folder}/server.pem"
  tls-service-key: "{folder}/server.pem"
  incoming-num-tcp: 1000
  num-threads: 1
  module-config: "iterator"
  do-daemonize: no
  username: ""
  chroot: ""
  pidfile: ""
  directory: "{folder}"
  use-syslog: no
  logfile: ""
  local-zone: "{zone}" redirect
  local-data: "{zone} 0 A 192.0.2.1"
remote-control:
  control-enable: yes
  control-interface: "{folder}/unbound.sock"
  control-use-cert: no
"""


class EncryptedUpstream:
    """A running unbound; `port` is that of `over`, `ca` the file that its certificate is verified with."""

    def __init__(self, children: Children, folder: Path, over: str) -> None:
        unbound, control = programs.require("unbound"), programs.require("unbound-control")
        plain, dot, doh = free_port(), free_port(), free_port()
        self.port = doh if over == DOH else dot
        self.ca = folder / "ca.pem"
        _write_certificates(folder)
        configuration = folder / "upstream.conf"
        configuration.write_text(
            CONFIGURATION.format(host=HOST, port=plain, dot_port=dot, doh_port=doh, folder=folder, zone=ZONE)
        )
        self._statistics = [control, "-c", str(configuration), "stats_noreset"]
        child = children.start("encrypted upstream", [unbound, "-d", "-c", str(configuration)])
        wait_for_answer(plain, PROBE, lambda: children.require_alive(child))

    def asked(self) -> int | None:
        """Queries so far."""
        done = subprocess.run(self._statistics, capture_output=True, text=True)
        counts = [line for line in done.stdout.splitlines() if line.startswith("total.num.queries=")]
        if not counts:
            raise BenchError(f"unbound-control: {done.stderr.strip() or done.stdout.strip()}")
        return int(counts[0].partition("=")[2])


def _write_certificates(folder: Path) -> None:
    """An authority in ca.pem, and the server's key and certificate in server.pem."""
    authority_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    authority = _certificate("bench authority", authority_key, x509.BasicConstraints(True, None), authority_key)
    names = x509.SubjectAlternativeName([x509.DNSName(SERVER_NAME)])
    server = _certificate("bench authority", key, names, authority_key)
    (folder / "ca.pem").write_bytes(authority.public_bytes(Encoding.PEM))
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (folder / "server.pem").write_bytes(private + server.public_bytes(Encoding.PEM))


def _certificate(
    issuer: str, key: ec.EllipticCurvePrivateKey, extension: x509.ExtensionType, signer: ec.EllipticCurvePrivateKey
) -> x509.Certificate:
    """For `issuer` itself if the signer is its own key, else for SERVER_NAME."""
    now = dt.datetime.now(dt.UTC)
    subject = issuer if key is signer else SERVER_NAME
    builder = x509.CertificateBuilder(
        _name(issuer), _name(subject), key.public_key(), x509.random_serial_number(), now - DAY, now + DAY
    )
    return builder.add_extension(extension, critical=key is signer).sign(signer, hashes.SHA256())


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text)])
