"""Frames as Arrow tables with the keys of `--json` for columns, for Parquet and SQL."""

from __future__ import annotations

import io
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final

from dnsproxy.tap.errors import MissingModule
from dnsproxy.tap.forms.json_lines import KEYS, JsonLines
from dnsproxy.tap.frame import TapFrame

if TYPE_CHECKING:
    import pyarrow as pa

FRAME: Final = "frame"
NUMBERS: Final = frozenset({"query_port", "response_port", "size", "id", "qdcount", "ancount", "nscount", "arcount"})
SECTIONS: Final = frozenset({"answer", "authority", "additional"})


def require(what: str, *modules: str) -> None:
    """MissingModule unless these can be imported; `what` takes them."""
    from importlib.util import find_spec

    if any(find_spec(module) is None for module in modules):
        raise MissingModule(what, *modules)


class Tables:
    """Makes a table of some frames; with `frames` there is a column for the whole frame."""

    def __init__(self, frames: bool) -> None:
        self._write = JsonLines(wire=True, frame=frames).write
        self.schema = schema(frames)

    def of(self, frames: Iterable[TapFrame]) -> pa.Table:
        """A row for each; there is one at least. Text is read by Arrow: 2 µs a frame against 40 for Python objects."""
        from pyarrow import json

        octets = "".join([self._write(frame) for frame in frames]).encode()
        return json.read_json(
            io.BytesIO(octets),
            read_options=json.ReadOptions(use_threads=False, block_size=len(octets) + 1),
            parse_options=json.ParseOptions(explicit_schema=self.schema, unexpected_field_behavior="error"),
        )


def schema(frames: bool) -> pa.Schema:
    """Names and types of the columns."""
    import pyarrow as pa

    keys = (*KEYS, FRAME) if frames else KEYS
    return pa.schema([(key, _type(key, pa)) for key in keys])


def _type(key: str, pa: Any) -> pa.DataType:
    text, whole = pa.string(), pa.int64()
    if key in NUMBERS:
        return whole
    if key == "latency_ms":
        return pa.float64()
    if key == "flags":
        return pa.list_(text)
    if key in SECTIONS:
        return pa.list_(pa.struct([("name", text), ("ttl", whole), ("class", text), ("type", text), ("data", text)]))
    if key == "edns":
        option = pa.struct([("code", whole), ("name", text), ("data", text), ("text", text)])
        return pa.struct([("version", whole), ("udp_size", whole), ("do", pa.bool_()), ("options", pa.list_(option))])
    if key == "policy":
        return pa.struct([(name, text) for name in ("type", "rule", "action", "match", "value")])
    return text
