"""Taps that listen with TLS: who is let in, and certificates that change while collectors are there."""

import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import trio
import trustme
from trio.testing import trio_test

from dnsproxy.dnstap.destination import ListenUrl, TlsOptions
from dnsproxy.dnstap.framestreams import data_frame
from dnsproxy.dnstap.listening_output import ListeningOutput
from dnsproxy.dnstap.listening_socket import ListenError
from dnsproxy.dnstap.output import OutputOptions
from tests.dnstap.dialer import Dialer, address, dial
from tests.dnstap.waiting import until


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def files(authority: trustme.CA, tmp_path: Path) -> TlsOptions:
    """Ours, in PEM files."""
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    write_certificate(authority, tmp_path)
    return TlsOptions(cert=str(tmp_path / "cert.pem"), key=str(tmp_path / "key.pem"))


def write_certificate(authority: trustme.CA, folder: Path) -> None:
    """Another certificate in the same files."""
    ours = authority.issue_cert("127.0.0.1")
    ours.private_key_pem.write_to_path(folder / "key.pem")
    ours.cert_chain_pems[0].write_to_path(folder / "cert.pem")


def client(authority: trustme.CA, known_to: trustme.CA | None = None) -> ssl.SSLContext:
    """A collector that trusts one authority, with a certificate of another one, or none."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authority.configure_trust(context)
    if known_to is not None:
        known_to.issue_cert("collector.example.org").configure_cert(context)
    return context


def options(tls: TlsOptions) -> OutputOptions:
    return OutputOptions("tap", ListenUrl.from_toml("tls://127.0.0.1:0"), tls, 1000, 1 << 26, listening=True)


@asynccontextmanager
async def running(tls: TlsOptions) -> AsyncIterator[ListeningOutput]:
    output = ListeningOutput(options(tls))
    async with trio.open_nursery() as nursery:
        await nursery.start(output.run)
        yield output
        await output.drain(5)


def dialer(output: ListeningOutput, context: ssl.SSLContext) -> Dialer:
    return Dialer(address(output.tap_status()), context)


@trio_test
async def test_a_collector_gets_everything_over_tls(authority: trustme.CA, files: TlsOptions) -> None:
    async with running(files) as output:
        async with dialer(output, client(authority)).connected() as collector:
            payloads = [bytes([number % 256]) * 2000 for number in range(1000)]
            for payload in payloads:
                output.offer(data_frame(payload))
            await output.drain(5)
        assert collector.frames == payloads
        assert (collector.stops, output.tap_status()["sent"]) == (1, 1000)


@trio_test
async def test_with_ca_only_collectors_that_prove_who_they_are_are_let_in(
    authority: trustme.CA, files: TlsOptions
) -> None:
    async with running(replace(files, ca=str(Path(files.cert or "").with_name("ca.pem")))) as output:
        for certificate, error in [
            (None, "peer did not return a certificate"),
            (trustme.CA(), "certificate: unable to get local issuer certificate"),
        ]:
            refused = dialer(output, client(authority, certificate))
            async with refused.dialling():
                await refused.gone.wait()
            assert not refused.started
            await until(lambda error=error: output.tap_status()["last_error"] == error)  # type: ignore[misc]
        async with dialer(output, client(authority, authority)).connected() as collector:
            output.offer(data_frame(b"for its eyes only"))
            await collector.wait_for(1)
        assert output.tap_status()["offered"] == 1


@pytest.mark.parametrize("octets", [b"", b"\0\0\0\0\0\0\0\4\0\0\0\1", b"\x16\x03\x01\xff\xff", bytes(1000)])
@trio_test
async def test_whoever_does_not_speak_tls_is_left_and_delays_nobody(
    authority: trustme.CA, files: TlsOptions, octets: bytes
) -> None:
    async with running(files) as output, await dial(address(output.tap_status())) as other:
        if octets:
            await other.send_all(octets)
        async with dialer(output, client(authority)).connected() as collector:
            output.offer(data_frame(b"hello"))
            await collector.wait_for(1)


@trio_test
async def test_old_versions_of_tls_are_refused(authority: trustme.CA, files: TlsOptions) -> None:
    context = client(authority)
    context.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    async with running(files) as output:
        refused = dialer(output, context)
        async with refused.dialling():
            await refused.gone.wait()
        assert not refused.started
        await until(lambda: output.tap_status()["last_error"] == "unsupported protocol")


# certificates that change


def shown(where: Dialer, context: ssl.SSLContext) -> bytes | None:
    """The certificate that a handshake shows now."""
    with (
        socket.create_connection((where.destination.host, where.destination.port), timeout=5) as sock,
        context.wrap_socket(sock, server_hostname="127.0.0.1") as tls,
    ):
        return tls.getpeercert(binary_form=True)


@trio_test
async def test_reopening_reads_the_files_again_and_sessions_go_on(
    authority: trustme.CA, files: TlsOptions, tmp_path: Path
) -> None:
    context = client(authority)
    async with running(files) as output, dialer(output, context).connected() as collector:
        before = await trio.to_thread.run_sync(shown, collector, context)
        write_certificate(authority, tmp_path)
        assert await trio.to_thread.run_sync(shown, collector, context) == before
        output.reopen()
        after = await trio.to_thread.run_sync(shown, collector, context)
        assert after not in (None, before)
        output.offer(data_frame(b"still here"))
        await collector.wait_for(1)


@trio_test
async def test_files_that_will_not_do_are_told_and_the_old_certificate_stays(
    authority: trustme.CA, files: TlsOptions, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    context = client(authority)
    async with running(files) as output:
        where = dialer(output, context)
        before = await trio.to_thread.run_sync(shown, where, context)
        (tmp_path / "key.pem").write_text("no key")
        output.reopen()
        await until(lambda: "tap tap keeps its certificate" in caplog.text)
        assert await trio.to_thread.run_sync(shown, where, context) == before
        write_certificate(authority, tmp_path)
        output.reopen()
        assert await trio.to_thread.run_sync(shown, where, context) != before


@trio_test
async def test_whoever_was_let_in_by_other_rules_has_to_come_again(
    authority: trustme.CA, files: TlsOptions, tmp_path: Path
) -> None:
    async with running(files) as output, dialer(output, client(authority)).connected() as anybody:
        output.offer(data_frame(b"the last one"))
        output.configure(options(replace(files, ca=str(tmp_path / "ca.pem"))))
        await anybody.gone.wait()
        assert (anybody.frames, anybody.stops) == ([b"the last one"], 1)
        async with dialer(output, client(authority, authority)).connected() as known:
            output.offer(data_frame(b"hello"))
            await known.wait_for(1)
        assert output.tap_status()["dropped"]["disconnected"] == 0


def test_a_certificate_that_cannot_be_read_at_start_is_an_error(files: TlsOptions, tmp_path: Path) -> None:
    (tmp_path / "cert.pem").unlink()
    with pytest.raises(ListenError, match=r"cannot listen on tls://127\.0\.0\.1:0: No such file or directory"):
        ListeningOutput(options(files))
