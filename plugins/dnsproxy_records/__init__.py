"""The `records` plugin: answers from zone data in the configuration."""

from __future__ import annotations

import struct
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import ClassVar

from dnsproxy import wire
from dnsproxy.config import DnsName, OptionError, OptionErrors, ReadableFile, option
from dnsproxy.message import Query, Response
from dnsproxy.plugin import Plugin, Stage
from dnsproxy_records.answers import Answers
from dnsproxy_records.tree import Tree, name_of
from dnsproxy_records.zonefile import Problem, read_records

CLASS_IN = 1

_AFTER_ID = struct.Struct("!HHHHH")  # flags and the four counts
_OPT = {dnssec_ok: wire.make_opt(dnssec_ok=dnssec_ok) for dnssec_ok in (False, True)}


@dataclass(frozen=True)
class RecordsConfig:
    """`[records]`: the zones, and their text or a file with it."""

    zones: tuple[DnsName, ...] = option(help="the zones answered for; relative names in the text belong to the first")
    data: str | None = option(None, help="the zones' records as zone-file text (RFC 1035 section 5)")
    file: ReadableFile | None = option(None, help="a file with such text, in place of `data`")

    def __post_init__(self) -> None:
        if self.data is None and self.file is None:
            raise OptionError("data", "missing; expected the zones' text in `data`, or the name of a `file` with it")
        if self.data is not None and self.file is not None:
            raise OptionError("file", "stands beside `data`; expected one of the two")
        _ = self.tree  # reads the text at once: its errors are the configuration's

    @cached_property
    def tree(self) -> Tree:
        """The names of all zones; OptionErrors with every problem of the text."""
        records, problems = read_records(self._text(), name_of(self.zones[0]))
        tree = Tree(self.zones)
        problems += tree.plant(records)
        if problems:
            raise OptionErrors(self._error(problem) for problem in sorted(problems))
        return tree

    def _text(self) -> str:
        if self.file is None:
            return self.data or ""
        try:
            # octets that are no UTF-8 get through in comments, and are reported with their line elsewhere
            return Path(self.file).read_text(encoding="utf-8-sig", errors="surrogateescape")
        except OSError as exc:
            raise OptionError("file", f"{self.file}: {exc.strerror}; expected a file of zone text") from exc

    def _error(self, problem: Problem) -> OptionError:
        if self.file is None:
            return OptionError("data", problem.what, line=problem.line)
        return OptionError("file", f"{self.file}:{problem.line + 1}: {problem.what}")


class Records(Plugin):
    """Answers what lies in its zones, with authority; passes on other names, and classes other than IN."""

    stage = Stage.LOCAL
    is_trusted = True
    Config: ClassVar[type] = RecordsConfig

    def __init__(self, stanzas: Sequence[RecordsConfig]) -> None:
        super().__init__(stanzas)
        config = stanzas[0]
        self._zones = config.zones
        self._names = len(config.tree.nodes)
        self._answers = Answers(config.tree)

    def handle(self, query: Query) -> Awaitable[Response]:
        """An answer at once, or what the rest of the chain says."""
        shape = query.shape
        if shape.qclass != CLASS_IN or not shape.folded.endswith(self._zones):
            return self.next(query)
        body = self._answers.find(shape.folded, shape.qtype)
        if body is None:
            return self.next(query)
        flags, answers, authorities, records = body
        if shape.opt_offset < 0:
            header = query.wire[:2] + _AFTER_ID.pack(flags | shape.flags, 1, answers, authorities, 0)
            return Response(header + shape.question + records)
        header = query.wire[:2] + _AFTER_ID.pack(flags | shape.flags, 1, answers, authorities, 1)
        return Response(header + shape.question + records + _OPT[shape.do])

    def describe(self) -> list[str]:
        """Its zones, for the terminal."""
        zones = ", ".join([wire.name_to_text(zone) for zone in self._zones])
        return [f"answers for {zones} ({self._names} names)"]
