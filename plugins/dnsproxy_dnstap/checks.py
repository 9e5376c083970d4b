"""What keys of a `[[dnstap]]` stanza make no sense together, or without one another."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from dnsproxy.config import OptionError
from dnsproxy.dnstap.destination import LISTEN_FORMS, Destination
from dnsproxy.dnstap.rotation_compress import missing_module
from dnsproxy.errors import NOERROR, NXDOMAIN
from dnsproxy.pem import pem_errors
from dnsproxy_dnstap.anonymize import FORM as ANONYMIZE_FORM

if TYPE_CHECKING:
    from dnsproxy_dnstap.options import TapConfig

TLS_KEYS: Final = ("ca", "cert", "key", "server_name", "skip_verify")
FILE_KEYS: Final = ("rotate_size", "rotate_every", "keep", "compress")
COLLECTOR_KEYS: Final = ("connections", "keepalive", "spool", "spool_max")
DIALLING_KEYS: Final = ("server_name", "skip_verify", "connections", "spool", "spool_max")
NO_ERRORS: Final = {NOERROR, NXDOMAIN}


def errors_in(config: TapConfig) -> Iterator[OptionError]:
    """Everything that is wrong between keys which are right by themselves."""
    if config.name == "":
        yield OptionError("name", "is empty; expected a name, or none")
    yield from _selection_errors(config)
    yield from _content_errors(config)
    if config.socket is None and config.listen is None:
        yield OptionError("socket", f"missing; expected {Destination.expected}, or listen")
    elif config.socket is not None and config.listen is not None:
        yield OptionError("listen", f"stands beside socket; expected one of them: {LISTEN_FORMS}")
    else:
        yield from _output_errors(config)


def _selection_errors(config: TapConfig) -> Iterator[OptionError]:
    if config.only == "errors" and config.rcodes and not set(config.rcodes) - NO_ERRORS:
        yield OptionError(
            "rcodes", 'has none that only = "errors" lets through; expected an error, or one key of the two'
        )
    if config.always and config.sample is None:
        yield OptionError("always", "stands without sample; expected both or none")
    elif "slow" in config.always and config.slower_than is None:
        message = '"slow" stands without slower_than; expected it beside, to say what is slow'
        yield OptionError("always", message, config.always.index("slow"))


def _content_errors(config: TapConfig) -> Iterator[OptionError]:
    if config.anonymize is not None and config.anonymize.is_empty:
        yield OptionError("anonymize", f"says nothing; expected {ANONYMIZE_FORM}")


def _output_errors(config: TapConfig) -> Iterator[OptionError]:
    misplaced = dict(_misplaced(config))
    for key, place in misplaced.items():
        yield OptionError(key, f"is for {place} only; expected none with {config.destination}")
    if config.spool_max is not None and config.spool is None and "spool_max" not in misplaced:
        yield OptionError("spool_max", "stands without spool; expected both or none")
    if module := missing_module(config.compress):
        message = (
            f'"{config.compress}" takes the Python module {module}, which is not installed; expected it, or "gzip"'
        )
        yield OptionError("compress", message)
    if config.destination.scheme == "tls" and not misplaced.keys() & set(TLS_KEYS):
        yield from _tls_errors(config)


def _misplaced(config: TapConfig) -> Iterator[tuple[str, str]]:
    """Keys that are given where they have no effect, each with the place where it would have one."""
    scheme = config.destination.scheme
    wrong = [
        (config.listen is not None, DIALLING_KEYS, "socket"),
        (scheme == "file", COLLECTOR_KEYS, "collectors"),
        (scheme != "file", FILE_KEYS, "file://"),
        (scheme != "tls", TLS_KEYS, "tls://"),
    ]
    for is_wrong, keys, place in wrong:
        for key in keys if is_wrong else ():
            if getattr(config, key) != _default(config, key):
                yield key, place


def _default(config: TapConfig, key: str) -> object:
    return next(field.default for field in dataclasses.fields(config) if field.name == key)


def _tls_errors(config: TapConfig) -> Iterator[OptionError]:
    if config.listen is not None and config.cert is None:
        yield OptionError("cert", "missing; expected the PEM of our certificate, which a tls:// listener shows")
    yield from pem_errors(config)
