"""Writing tap files as a tap does, and what is in a folder of them."""

import gzip
from pathlib import Path
from typing import Any, Final

import zstandard

from dnsproxy.dnstap.framestreams import DNSTAP, Reader, Started, Stopped, data_frame
from dnsproxy.dnstap.rotation import Rotation
from dnsproxy.dnstap.rotation_series import FileSeries
from dnsproxy.dnstap.stream_file import START, STOP

NOON: Final = 1_700_049_600.0  # 12:00 UTC
HOUR: Final = 3600.0
BARE: Final = len(START + STOP)  # octets of a file without frames


def series_of(folder: Path, name: str = "dns.fstrm", **rotation: Any) -> FileSeries:
    return FileSeries("tap", f"{folder}/{name}", Rotation(**rotation))


def frames(*payloads: bytes) -> bytes:
    return b"".join(map(data_frame, payloads))


def end(series: FileSeries) -> None:
    """To the last thing that is to be done."""
    series.end()
    assert series.wait(10)


def names(folder: Path) -> list[str]:
    """The files below a folder."""
    return sorted(str(each.relative_to(folder)) for each in folder.rglob("*") if each.is_file())


def octets(path: Path) -> bytes:
    """What a file holds once it is unpacked."""
    if path.suffix == ".gz":
        return gzip.decompress(path.read_bytes())
    if path.suffix == ".zst":
        return zstandard.ZstdDecompressor().decompressobj().decompress(path.read_bytes())
    return path.read_bytes()


def read(path: Path) -> list[bytes]:
    """The frames of a whole stream."""
    first, *frames, last = Reader().receive_data(octets(path))
    assert (first, last) == (Started(DNSTAP, bidirectional=False), Stopped())
    return [frame for frame in frames if isinstance(frame, bytes)]


def read_part(path: Path) -> list[bytes]:
    """The frames of a stream that has no STOP yet, and no frame that is not whole."""
    reader = Reader()
    first, *frames = reader.receive_data(path.read_bytes())
    assert first == Started(DNSTAP, bidirectional=False)
    assert not reader.is_inside_frame
    return [frame for frame in frames if isinstance(frame, bytes)]
