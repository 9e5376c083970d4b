"""Output that is compressed while it is written."""

from __future__ import annotations

import zlib
from typing import Final, Protocol

from dnsproxy.tap.errors import MissingModule
from dnsproxy.tap.formats import GZIP, ZSTD
from dnsproxy.tap.output import Output

GZIP_FORMAT: Final = 31  # zlib's number for gzip with the largest window
GZIP_LEVEL: Final = 6  # as the gzip program has it


class _Compressor(Protocol):
    def compress(self, octets: bytes, /) -> bytes: ...
    def flush(self) -> bytes: ...


class Compressing:
    """An Output before another one."""

    def __init__(self, output: Output, compressor: _Compressor) -> None:
        self._output = output
        self._compressor = compressor

    def write(self, octets: bytes) -> None:
        """As Output says."""
        packed = self._compressor.compress(octets)
        if packed:
            self._output.write(packed)

    def finish(self) -> None:
        """As Output says."""
        self._output.write(self._compressor.flush())
        self._output.finish()

    def abandon(self) -> None:
        """As Output says."""
        self._output.abandon()


def compressor_for(compression: str | None) -> _Compressor | None:
    """None for none; MissingModule where it takes what is not installed."""
    if compression == GZIP:
        return zlib.compressobj(GZIP_LEVEL, zlib.DEFLATED, GZIP_FORMAT)
    if compression == ZSTD:
        try:
            import zstandard
        except ImportError:
            raise MissingModule("writing zstd", "zstandard") from None
        compressor: _Compressor = zstandard.ZstdCompressor(write_checksum=True).compressobj()
        return compressor
    return None
