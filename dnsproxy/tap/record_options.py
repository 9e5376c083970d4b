"""The options of `record`, which `relay` has too: where files are written, and what becomes of them."""

from __future__ import annotations

import argparse
import re
import time
from dataclasses import dataclass, field, replace
from math import inf
from pathlib import Path
from typing import Final

import trio

from dnsproxy.dnstap.rotation import Rotation
from dnsproxy.dnstap.rotation_compress import missing_module
from dnsproxy.dnstap.rotation_names import NameTemplate
from dnsproxy.dnstap.stream_file import START, STOP
from dnsproxy.tap.common import Parser, duration, size
from dnsproxy.tap.errors import MissingModule, WrongUsage
from dnsproxy.tap.hooks import Hooks
from dnsproxy.tap.output import STANDARD_OUTPUT
from dnsproxy.tap.recorder import Recorder
from dnsproxy.tap.recording import Recording
from dnsproxy.tap.standard_stream import StandardStream

TIDY_S: Final = 1.0  # a file is removed no later than this behind its age
COMPRESSIONS: Final = ("gzip", "zstd")
_NUMBER: Final = re.compile(r"[1-9]\d{0,8}", re.ASCII)
_DURATION: Final = re.compile(r"[\d.]+ ?(ms|s|m|h|d|w)", re.ASCII)


def add_recording(parser: Parser, required: bool) -> None:
    """Options of a recorder, for `recorder_from`."""
    group = parser.add_argument_group("recording")
    group.add_argument(
        "-w",
        dest="template",
        metavar="TEMPLATE",
        required=required,
        help="Frame Streams files, with strftime's directives for the time they begin; `-` is standard output",
    )
    group.add_argument("--utc", action="store_true", help="that time in UTC (default: local)")
    group.add_argument("--rotate", metavar="WHEN", type=_rotation, default=Rotation(), help="1h, 100MiB or 1h,100MiB")
    group.add_argument(
        "--keep", metavar="HOW-MUCH", type=_kept, default=Rotation(), help="of complete files: 48, 20GiB or 7d"
    )
    group.add_argument(
        "--flush", metavar="TIME", type=duration, default=1.0, help="until what arrived is in the file (default: 1s)"
    )
    group.add_argument("--compress", choices=COMPRESSIONS, help="complete files")
    group.add_argument("--exec", metavar="CMD", help="for each complete file, whose path is added as last argument")


@dataclass(frozen=True)
class Recordings:
    """A recorder and what it writes to."""

    recorder: Recorder
    files: Recording | None  # none on standard output
    hooks: Hooks | None
    ended: trio.Event = field(default_factory=trio.Event)

    def open(self) -> None:
        """Begin a file, or go on in one; Failure when another process records there."""
        if self.files is not None:
            self.files.open(time.time())

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """As the recorder's; files that become too old are removed."""
        async with trio.open_nursery() as nursery:
            if self.files is not None:
                nursery.start_soon(self._tidy, self.files)
            await self.recorder.run(task_status=task_status)
            nursery.cancel_scope.cancel()
        self.ended.set()

    async def finish(self) -> None:
        """End the file, and wait until everything is published and the command has had it."""
        self.recorder.end()
        await self.ended.wait()
        if self.hooks is not None:
            await trio.to_thread.run_sync(self.hooks.wait, abandon_on_cancel=True)
        if self.files is not None:
            await trio.to_thread.run_sync(self.files.wait, abandon_on_cancel=True)

    async def _tidy(self, files: Recording) -> None:
        while True:
            await trio.sleep(TIDY_S)
            files.tidy()


def check_recording(options: argparse.Namespace) -> None:
    """WrongUsage where the options do not fit."""
    is_rotated = options.rotate != Rotation() or options.keep != Rotation()
    if options.template in {None, STANDARD_OUTPUT}:
        if is_rotated or options.compress or options.exec:
            raise WrongUsage("--rotate, --keep, --compress and --exec take -w with the name of a file")
        return
    if options.template.endswith("/") or Path(options.template).is_dir():
        raise WrongUsage(f"-w: {options.template} is a folder; expected the name of a file")
    module = missing_module(options.compress)
    if module:
        raise MissingModule(f"--compress {options.compress}", module)
    try:
        NameTemplate(options.template)
        if options.exec is not None:
            Hooks(options.exec)
    except ValueError as exc:
        raise WrongUsage(f"{exc}") from exc


def rotation_from(options: argparse.Namespace) -> Rotation:
    """When files end and what becomes of them."""
    kept: Rotation = options.keep
    rotated: Rotation = options.rotate
    return replace(
        rotated,
        keep=kept.keep,
        keep_octets=kept.keep_octets,
        keep_s=kept.keep_s,
        compress=options.compress,
        utc=options.utc,
        always_part=True,
    )


def recordings_from(options: argparse.Namespace) -> Recordings:
    """What `add_recording` reads; WrongUsage, and BrokenPipeError when nobody reads standard output."""
    check_recording(options)
    if options.template == STANDARD_OUTPUT:
        return Recordings(Recorder(StandardStream(), options.flush), None, None)
    hooks = Hooks(options.exec) if options.exec is not None else None
    rotation = rotation_from(options)
    files = Recording(str(Path(options.template).absolute()), rotation, hooks)
    return Recordings(Recorder(files, options.flush, longest_frame(rotation, options.max_frame)), files, hooks)


def longest_frame(rotation: Rotation, max_frame: int) -> float:
    """Octets of the longest frame, its length included, for which a file has room; infinite where all fit."""
    if rotation.size is None or rotation.size - len(START) - len(STOP) >= max_frame + 4:
        return inf
    return rotation.size - len(START) - len(STOP)


def _rotation(text: str) -> Rotation:
    every_s, octets = None, None
    for part in text.split(","):
        if _DURATION.fullmatch(part.strip()):
            every_s = duration(part.strip()) if every_s is None else _twice(text)
        else:
            octets = size(part.strip()) if octets is None else _twice(text)
    if every_s == 0 or (octets is not None and octets <= len(START) + len(STOP)):
        raise argparse.ArgumentTypeError(f'"{text}" leaves no room for a frame')
    return Rotation(octets, every_s)


def _twice(text: str) -> int:
    raise argparse.ArgumentTypeError(f'"{text}" says the same thing twice; expected such as 1h, 100MiB or 1h,100MiB')


def _kept(text: str) -> Rotation:
    if _NUMBER.fullmatch(text):
        return Rotation(keep=int(text))
    if _DURATION.fullmatch(text):
        return Rotation(keep_s=duration(text))
    if text.isdecimal():
        raise argparse.ArgumentTypeError(f'"{text}" is not how much to keep; expected such as 48, 20GiB or 7d')
    return Rotation(keep_octets=size(text))
