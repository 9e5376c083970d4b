"""What can be wrong with `[[forward]]` stanzas that no single value shows."""

from __future__ import annotations

import contextlib
import importlib.util
import ssl
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Final

from dnsproxy.config import CheckContext, OptionError
from dnsproxy.upstream.options import ENCRYPTED
from dnsproxy_forward.targets import Target, read_nameservers

if TYPE_CHECKING:
    from dnsproxy_forward.config import ForwardConfig, UpstreamTable

NEEDED: Final = {"https": ("h2", "http"), "quic": ("aioquic", "quic"), "h3": ("aioquic", "quic")}  # module, extra
TLS_KEYS: Final = ("ca", "cert", "key", "server_name", "pins")


def errors_in(stanzas: Sequence[ForwardConfig], context: CheckContext) -> Iterator[OptionError]:
    """Everything that is wrong with them."""
    for number, config in enumerate(stanzas):
        for check in (_loops, _missing_modules, _pem_errors, _idle_keys):
            for error in check(config, context):
                error.stanza = number
                yield error


def _loops(config: ForwardConfig, context: CheckContext) -> Iterator[OptionError]:
    """An upstream that is one of the same server's listeners would ask itself for ever."""
    scheme = "tcp" if config.force_tcp else "udp" if config.prefer_udp else None
    for index, target in enumerate(upstream.address for upstream in config.upstreams):
        for host in hosts_of(target):
            if context.listens_on(host, target.port, target.scheme or scheme):
                what = f'"{target}" names {host}, which is' if target.file else f'"{target}" is'
                yield OptionError("to", f"{what} a listener of this very server, a loop; expected another one", index)


def hosts_of(target: Target) -> list[str]:
    """The addresses that a target stands for without looking up any name."""
    if target.file:
        with contextlib.suppress(OSError):
            return read_nameservers(target.file)
    return [target.host] if target.is_address else []


def _missing_modules(config: ForwardConfig, _context: CheckContext) -> Iterator[OptionError]:
    """Protocols whose libraries are extras."""
    for index, upstream in enumerate(config.upstreams):
        module, extra = NEEDED.get(upstream.address.scheme or "", ("", ""))
        if module and importlib.util.find_spec(module) is None:
            install = f"pip install 'dnsproxy-tap[{extra}]'"
            yield OptionError(
                "to", f'"{upstream.address}" needs {module}; expected it to be installed: {install}', index
            )


def _pem_errors(config: ForwardConfig, _context: CheckContext) -> Iterator[OptionError]:
    """Read certificates and keys as a connection will."""
    yield from _pem_errors_of(config)
    for index, upstream in enumerate(config.to):
        if not isinstance(upstream, Target):
            for error in _pem_errors_of(upstream):
                yield error.below("to", index)


def _pem_errors_of(keys: ForwardConfig | UpstreamTable) -> Iterator[OptionError]:
    if keys.key and not keys.cert:
        yield OptionError("key", "stands without cert; expected both or none")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if keys.ca and (reason := _failure(lambda: context.load_verify_locations(keys.ca))):
        yield OptionError("ca", f"{keys.ca} will not do ({reason}); expected PEM certificates")
    if keys.cert and (reason := _failure(lambda: context.load_cert_chain(keys.cert or "", keys.key))):
        at, path = ("key", keys.key) if keys.key else ("cert", keys.cert)
        yield OptionError(at, f"{path} will not do ({reason}); expected a PEM certificate and its private key")


def _failure(load: object) -> str:
    """Why these files cannot be used; empty when they can."""
    assert callable(load)
    try:
        load()
    except OSError as exc:
        return (exc.reason or "not PEM") if isinstance(exc, ssl.SSLError) else exc.strerror or str(exc)
    return ""


def _idle_keys(config: ForwardConfig, _context: CheckContext) -> Iterable[OptionError]:
    """Keys about certificates beside an upstream that has none would promise what does not happen."""
    for index, upstream in enumerate(config.to):
        if isinstance(upstream, Target) or upstream.address.scheme in ENCRYPTED:
            continue
        for key in TLS_KEYS:
            if getattr(upstream, key):
                message = (
                    f'"{upstream.address}" is not encrypted; expected tls://, https://, quic:// or h3:// beside it'
                )
                yield OptionError(key, message).below("to", index)
