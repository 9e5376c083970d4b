"""Taps that dial with TLS: both sides prove who they are, with the files as they are at each connection."""

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
import trustme
from trio.testing import trio_test

from dnsproxy.dnstap.destination import Destination, TlsOptions
from dnsproxy.dnstap.framestreams import data_frame
from dnsproxy.dnstap.output import OutputOptions
from dnsproxy.dnstap.socket_output import SocketOutput
from tests.dnstap.waiting import until
from tests.support.collector import Collector, tcp_address


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """With a certificate of ours that nobody knows."""
    write_certificate(trustme.CA(), tmp_path)
    return tmp_path


def write_certificate(authority: trustme.CA, folder: Path) -> None:
    """Ours, in the same files each time."""
    ours = authority.issue_cert("proxy.example.org")
    ours.private_key_pem.write_to_path(folder / "key.pem")
    ours.cert_chain_pems[0].write_to_path(folder / "cert.pem")


def demanding(authority: trustme.CA) -> Collector:
    """Wants a certificate of its own authority."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.configure_trust(context)
    context.verify_mode = ssl.CERT_REQUIRED
    return Collector(tcp_address(), keeps=False, tls=context)


@asynccontextmanager
async def running(collector: Collector, tls: TlsOptions) -> AsyncIterator[SocketOutput]:
    where = Destination.from_toml(collector.address.replace("tcp", "tls"))
    output = SocketOutput(OutputOptions("tap", where, tls, 1000, 1 << 20))
    async with trio.open_nursery() as nursery:
        await nursery.start(output.run)
        yield output
        await output.drain(0.1)


@trio_test
async def test_a_certificate_that_the_collector_does_not_know_is_replaced_without_a_restart(folder: Path) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(folder / "ca.pem")
    tls = TlsOptions(ca=str(folder / "ca.pem"), cert=str(folder / "cert.pem"), key=str(folder / "key.pem"))
    with demanding(authority) as collector:
        async with running(collector, tls) as output:
            output.offer(data_frame(b"hello"))
            await until(lambda: output.state == "down")
            assert "unknown ca" in (output.last_error or "")
            write_certificate(authority, folder)
            await until(lambda: collector.received == 1)


@trio_test
async def test_a_collector_that_wants_a_certificate_and_gets_none_gets_nothing_else(folder: Path) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(folder / "ca.pem")
    tls = TlsOptions(ca=str(folder / "ca.pem"))
    with demanding(authority) as collector:
        async with running(collector, tls) as output:
            output.offer(data_frame(b"secret"))
            await until(lambda: output.state == "down")
            assert "certificate required" in (output.last_error or "")
            assert (collector.received, output.tap_status()["sent"]) == (0, 0)


@trio_test
async def test_files_that_are_gone_are_a_tap_that_is_down_until_they_are_back(folder: Path) -> None:
    authority = trustme.CA()
    tls = TlsOptions(ca=str(folder / "ca.pem"), cert=str(folder / "cert.pem"), key=str(folder / "key.pem"))
    with demanding(authority) as collector:
        async with running(collector, tls) as output:
            output.offer(data_frame(b"hello"))
            await until(lambda: output.state == "down")
            assert output.last_error == "No such file or directory"
            write_certificate(authority, folder)
            authority.cert_pem.write_to_path(folder / "ca.pem")
            await until(lambda: collector.received == 1)
