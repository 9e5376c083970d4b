"""What can be wrong with `[[forward]]` stanzas that no single value shows."""

from __future__ import annotations

import contextlib
import importlib.util
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Final

from dnsproxy.config import CheckContext, OptionError
from dnsproxy.pem import pem_errors
from dnsproxy.upstream.options import ENCRYPTED
from dnsproxy_forward.targets import Target, read_nameservers

if TYPE_CHECKING:
    from dnsproxy_forward.config import ForwardConfig

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
    yield from pem_errors(config)
    for index, upstream in enumerate(config.to):
        if not isinstance(upstream, Target):
            for error in pem_errors(upstream):
                yield error.below("to", index)


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
