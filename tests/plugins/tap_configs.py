"""Stanzas of `[[dnstap]]` as a configuration file would give them."""

from pathlib import Path
from typing import Any

from dnsproxy_dnstap import TapConfig

from dnsproxy.convert import read_table

UNIX = "unix:///run/tap.sock"
FILE = "file:///var/lib/dns.fstrm"
TLS = "tls://192.0.2.1:853"


def config(folder: Path = Path("/"), **keys: Any) -> TapConfig:
    """The stanza with these keys, which are right; to a unix socket unless they say otherwise."""
    outcome = read_table(TapConfig, _with_socket(keys), folder)
    assert outcome.errors == []
    assert outcome.value is not None
    return outcome.value


def errors(folder: Path = Path("/"), **keys: Any) -> dict[str, str]:
    """What is wrong with the stanza: messages by key path."""
    outcome = read_table(TapConfig, _with_socket(keys), folder)
    return {".".join(map(str, error.path)): error.message for error in outcome.errors}


def _with_socket(keys: dict[str, Any]) -> dict[str, Any]:
    return keys if "listen" in keys else {"socket": UNIX, **keys}
