"""Compressing files that are closed: gzip from the standard library, zstd where its module is installed."""

from __future__ import annotations

import gzip
import os
from contextlib import AbstractContextManager
from importlib import import_module
from pathlib import Path
from typing import IO, Any, Final

from dnsproxy.dnstap.rotation import Compression
from dnsproxy.dnstap.stream_file import FILE_MODE, lock

ENDING: Final[dict[Compression, str]] = {"gzip": ".gz", "zstd": ".zst"}
ZSTD_MODULE: Final = "zstandard"
BLOCK_OCTETS: Final = 64 * 1024  # at once: a thread of low priority holds up the others between two blocks
TEMPORARY: Final = ".tmp"


def missing_module(compression: Compression | None) -> str | None:
    """The module without which this cannot be done, unless it can be imported."""
    if compression == "zstd":
        try:
            import_module(ZSTD_MODULE)
        except ImportError:
            return ZSTD_MODULE
    return None


def compress(source: Path, target: Path, compression: Compression) -> None:
    """Make `target`, which is complete and on disk for good when this returns, as old as `source`.

    An older `target` is replaced. OSError, or ImportError when the module is missing; nothing is left then.
    """
    target.unlink(missing_ok=True)
    try:
        with source.open("rb") as plain, target.open("xb") as packed:
            lock(packed.fileno())
            os.fchmod(packed.fileno(), FILE_MODE)
            with _compressor(packed, compression) as into:
                while block := plain.read(BLOCK_OCTETS):
                    into.write(block)
            packed.flush()
            status = os.fstat(plain.fileno())
            os.utime(packed.fileno(), ns=(status.st_atime_ns, status.st_mtime_ns))
            os.fsync(packed.fileno())
    except BaseException:
        target.unlink(missing_ok=True)
        raise


def _compressor(packed: IO[bytes], compression: Compression) -> AbstractContextManager[Any]:
    if compression == "gzip":
        return gzip.GzipFile("", "wb", fileobj=packed)
    import zstandard

    return zstandard.ZstdCompressor(write_checksum=True).stream_writer(packed, closefd=False)
