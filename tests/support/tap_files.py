"""What taps wrote to files: every message in them, packed or not, and whether they are whole."""

import gzip
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tests.support.dnstap_decoder import TapMessage, decode
from tests.support.framestreams import START, STOP, FrameBuffer, control_frame
from tests.support.programs import require_program

GZIP_MAGIC, ZSTD_MAGIC = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
UNPACK_WITHIN_S = 20.0


@dataclass(frozen=True)
class TapFile:
    """What a Frame Streams file holds."""

    path: Path
    octets: bytes  # unpacked
    kinds: tuple[int, ...]  # of its control frames, in order
    messages: list[TapMessage]
    rest: bytes  # of a frame that was cut

    @property
    def is_complete(self) -> bool:
        """START first, STOP last, nothing behind it."""
        stop = control_frame(STOP)
        return self.kinds == (START, STOP) and not self.rest and self.octets.endswith(stop)


def read_file(path: Path) -> TapFile:
    """A file, unpacked if its content says gzip or zstd."""
    octets = unpacked(path)
    buffer = FrameBuffer()
    frames = buffer.feed(octets)
    kinds = tuple(kind for kind, _ in frames if kind)
    return TapFile(path, octets, kinds, [decode(payload) for kind, payload in frames if not kind], buffer.octets)


def read_files(paths: Iterable[Path]) -> list[TapFile]:
    """Those that are streams with messages, in the order of their first message."""
    found = [read_file(path) for path in paths if _is_stream(path)]
    return sorted((one for one in found if one.messages), key=lambda one: one.messages[0].time_ns)


def messages_in(paths: Iterable[Path]) -> list[TapMessage]:
    """Those of several files, one file after the other."""
    return [message for one in read_files(paths) for message in one.messages]


def unpacked(path: Path) -> bytes:
    octets = path.read_bytes()
    if octets.startswith(GZIP_MAGIC):
        return gzip.decompress(octets)
    if octets.startswith(ZSTD_MAGIC):
        command = [require_program("zstd"), "-dc", str(path)]
        return subprocess.run(command, check=True, capture_output=True, timeout=UNPACK_WITHIN_S).stdout
    return octets


def _is_stream(path: Path) -> bool:
    try:
        octets = unpacked(path)
    except (FileNotFoundError, IsADirectoryError):
        return False  # it was removed meanwhile, or is a folder
    return octets.startswith(control_frame(START, content_type=True))
