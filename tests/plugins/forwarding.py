"""Forward between scripted upstreams: what its tests share."""

from typing import Any

from dnsproxy_forward import Forward

from tests.support.offline import Asked, Offline, Script, query
from tests.support.toml import stanza

A, B, C = (f"127.0.0.{number}:5301" for number in (1, 2, 3))
NOERROR, SERVFAIL, NXDOMAIN, REFUSED = 0, 2, 3, 5
PROBE = b"\0\0\2\0\1"  # . NS
KEYS: dict[str, object] = {"timeout": "2s", "deadline": "4500ms"}


def forward(*to: str, **keys: object) -> str:
    return stanza("[[forward]]", {**KEYS, "to": list(to), **keys})


def configured(offline: Offline, *stanzas: str, **scripts: Script) -> Offline:
    """With servers A, B and C by script; a server without one is silent."""
    offline.configure("".join(stanzas))
    for server, script in scripts.items():
        offline.network.scripts[{"A": A, "B": B, "C": C}[server]] = script
    return offline


def bound(*to: str, **keys: object) -> tuple[Forward, Offline]:
    """The plugin in a chain of its own, and that to be closed."""
    offline = Offline()
    chain = offline.configure(stanza("[[forward]]", {"to": list(to), **keys}))
    (plugin,) = chain.plugins
    assert isinstance(plugin, Forward)
    return plugin, offline


def counts(offline: Offline) -> list[int]:
    """How often each of A, B and C was asked, probes aside."""
    asked = [[octets for octets in offline.network.asked_for(server) if octets[12:] != PROBE] for server in (A, B, C)]
    return [len(octets) for octets in asked]


def together(offline: Offline, number: int, **more: Any) -> list[Asked]:
    """The same question by that many clients at once."""
    return [offline.start(query(id=1000 + which), **more) for which in range(number)]
