"""What the values of a `[[dnstap]]` stanza may be, where the configuration's own value types do not say it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Annotated, ClassVar, Final, Literal

from dnsproxy.config import Reader, shown
from dnsproxy.dnstap.destination import Destination
from dnsproxy.dnstap.rotation_names import NameTemplate
from dnsproxy.dnstap.schema import TYPE_FORMS, MessageType, SocketProtocol, select_types
from dnsproxy.readers import alternatives
from dnsproxy.template import Template

Always = Literal["errors", "slow", "policy"]
Strip = Literal["ecs", "cookie"]

PROTOCOL_FORM: Final = alternatives(shown(each.name) for each in SocketProtocol)
FOLDER_FORM: Final = "the name of a folder, which is made if need be"
SAMPLE_FORM: Final = "a number above 0 and up to 1, such as 0.01"


@dataclass(frozen=True)
class Types:
    """Message types by an operator's word for them."""

    expected: ClassVar[str] = TYPE_FORMS

    word: str
    types: frozenset[MessageType]

    @classmethod
    def from_toml(cls, value: str) -> Types:
        """ValueError when the word means none."""
        return cls(value, select_types(value))

    def __str__(self) -> str:
        return self.word


@dataclass(frozen=True)
class Sample:
    """A part of all client queries: `text` is the number as it was configured, without an exponent."""

    rate: float
    text: str


def _read_sample(value: float, _folder: object) -> Sample:
    if not 0 < value <= 1:
        raise ValueError(f"{shown(value)} is no part of a whole; expected {SAMPLE_FORM}")
    return Sample(float(value), f"{Decimal(repr(value)):f}")


def _read_protocol(value: str, _folder: object) -> str:
    for protocol in SocketProtocol:
        if protocol.name.casefold() == value.casefold():
            return protocol.name
    raise ValueError(f"{shown(value)} is no protocol; expected {PROTOCOL_FORM}")


def _read_socket(value: str, _folder: object) -> Destination:
    socket = Destination.from_toml(value)
    if socket.scheme == "file":
        NameTemplate(socket.path)
    return socket


def _read_folder(text: str, folder: Path) -> str:
    """An absolute path that is a folder, or can become one; who may write there only the running proxy knows."""
    if not text or "\0" in text:
        raise ValueError(f"{shown(text)} is not a path; expected {FOLDER_FORM}")
    path = folder / text
    existing = next(each for each in (path, *path.parents) if os.path.exists(each))  # noqa: PTH110  never raises
    if not existing.is_dir():
        raise ValueError(f"{shown(str(existing))} is no folder; expected {FOLDER_FORM}")
    return str(path)


def _read_extra(value: str | dict[str, object], _folder: Path) -> Template:
    return Template.from_toml(value)


# not by its `from_toml`, whose annotations are gone once it is compiled
Extra = Annotated[Template, Reader((str, dict), Template.expected, _read_extra, lambda template: shown(str(template)))]
Socket = Annotated[Destination, Reader((str,), Destination.expected, _read_socket, lambda where: shown(str(where)))]
Folder = Annotated[str, Reader((str,), FOLDER_FORM, _read_folder, shown)]
Protocol = Annotated[str, Reader((str,), PROTOCOL_FORM, _read_protocol, shown)]
SamplePart = Annotated[Sample, Reader((int, float), SAMPLE_FORM, _read_sample, lambda sample: sample.text)]
