"""Taps over TLS: to whom messages go, and to whom they do not."""

import ssl
from pathlib import Path

import pytest
import trustme
from trio.testing import trio_test

from dnsproxy.dnstap.destination import Destination, TlsOptions
from dnsproxy.dnstap.framestreams import data_frame
from tests.dnstap.outputs import TCP, offer, running, until_state
from tests.dnstap.receiver import Receiver


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def ca(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("ca") / "ca.pem"
    authority.cert_pem.write_to_path(path)
    return str(path)


def server_context(authority: trustme.CA, *names: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*names).configure_cert(context)
    return context


def tls_to(receiver: Receiver, host: str = "127.0.0.1") -> Destination:
    return Destination("tls", host=host, port=receiver.destination.port)


@pytest.mark.parametrize(
    ("certified", "host", "server_name"),
    [
        ("127.0.0.1", "127.0.0.1", None),
        ("localhost", "localhost", None),
        ("tap.example.org", "127.0.0.1", "tap.example.org"),
    ],
)
@trio_test
async def test_a_verified_collector_gets_everything_over_tls(
    authority: trustme.CA, ca: str, certified: str, host: str, server_name: str | None
) -> None:
    async with Receiver(TCP, server_context(authority, certified)).listening() as receiver:
        async with running(tls_to(receiver, host), TlsOptions(ca=ca, server_name=server_name)) as output:
            payloads = [bytes([number % 256]) * 2000 for number in range(2000)]
            for payload in payloads:
                output.offer(data_frame(payload))
            await receiver.wait_for(len(payloads))
        assert receiver.frames == payloads
        assert (receiver.stops, receiver.broken) == (1, [])


@pytest.mark.parametrize(
    ("certified", "trusted", "error"),
    [
        ("other.example.org", True, "IP address mismatch"),
        ("127.0.0.1", False, "unable to get local issuer certificate"),
    ],
)
@trio_test
async def test_a_collector_that_cannot_be_verified_gets_nothing(
    authority: trustme.CA, ca: str, certified: str, trusted: bool, error: str
) -> None:
    async with Receiver(TCP, server_context(authority, certified)).listening() as receiver:
        async with running(tls_to(receiver), TlsOptions(ca=ca if trusted else None)) as output:
            offer(output, 1)
            await until_state(output, "down")
            assert error in output.tap_status()["last_error"]
        assert receiver.frames == []


@trio_test
async def test_skip_verify_takes_any_certificate_and_warns(
    authority: trustme.CA, caplog: pytest.LogCaptureFixture
) -> None:
    context = server_context(authority, "other.example.org")
    async with Receiver(TCP, context).listening() as receiver:
        async with running(tls_to(receiver), TlsOptions(skip_verify=True)) as output:
            offer(output, 1)
            await receiver.wait_for(1)
        assert receiver.stops == 1
    assert "tap tap does not verify its collector: skip_verify is on" in caplog.messages


@trio_test
async def test_a_collector_may_ask_for_our_certificate(authority: trustme.CA, ca: str, tmp_path: Path) -> None:
    context = server_context(authority, "127.0.0.1")
    context.verify_mode = ssl.CERT_REQUIRED
    authority.configure_trust(context)
    ours = authority.issue_cert("proxy.example.org")
    ours.private_key_pem.write_to_path(tmp_path / "key.pem")
    ours.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    async with Receiver(TCP, context).listening() as receiver:
        tls = TlsOptions(ca=ca, cert=str(tmp_path / "cert.pem"), key=str(tmp_path / "key.pem"))
        async with running(tls_to(receiver), tls) as output:
            offer(output, 1)
            await receiver.wait_for(1)
