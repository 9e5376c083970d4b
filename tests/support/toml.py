"""Configuration stanzas from Python values, with the short timeouts that keep scenarios quick."""

import json
from typing import Protocol


class HasAddress(Protocol):
    @property
    def address(self) -> str: ...


QUICK = {"timeout": "300ms", "deadline": "1s"}


def forward(*to: HasAddress | str, **keys: object) -> str:
    """A [[forward]] stanza; `from_` stands for `from`."""
    upstreams = [one if isinstance(one, str) else one.address for one in to]
    return stanza("[[forward]]", {**QUICK, "to": upstreams, **keys})


def dnstap(*, to: HasAddress | str, **keys: object) -> str:
    """A [[dnstap]] stanza, full unless told otherwise."""
    socket = to if isinstance(to, str) else to.address
    return stanza("[[dnstap]]", {"socket": socket, "full": True, **keys})


def listening(*, at: str, **keys: object) -> str:
    """A [[dnstap]] stanza whose collectors dial in, full unless told otherwise."""
    return stanza("[[dnstap]]", {"listen": at, "full": True, **keys})


def stanza(header: str, keys: dict[str, object]) -> str:
    lines = (f"{key.rstrip('_')} = {_value(value)}\n" for key, value in keys.items())
    return f"{header}\n{''.join(lines)}"


def _value(value: object) -> str:
    """TOML for strings, numbers, booleans, lists; a dict is an inline table."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {_value(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_value, value)) + "]"
    return json.dumps(value)
