"""Output that is compressed while it is written."""

import gzip
import sys

import pytest
import zstandard

from dnsproxy.tap.compressing import Compressing, compressor_for
from dnsproxy.tap.errors import MissingModule


class Kept:
    def __init__(self) -> None:
        self.octets = b""
        self.end = ""

    def write(self, octets: bytes) -> None:
        self.octets += octets

    def finish(self) -> None:
        self.end = "finished"

    def abandon(self) -> None:
        self.end = "abandoned"


def written(kind: str) -> bytes:
    kept, compressor = Kept(), compressor_for(kind)
    assert compressor is not None
    output = Compressing(kept, compressor)
    for number in range(100):
        output.write(b"%d" % number * 1000)
    output.finish()
    assert kept.end == "finished"
    return kept.octets


PLAIN = b"".join(b"%d" % number * 1000 for number in range(100))


def test_gzip() -> None:
    assert gzip.decompress(written(".gz")) == PLAIN


def test_zstd() -> None:
    assert zstandard.ZstdDecompressor().decompressobj().decompress(written(".zst")) == PLAIN


def test_without_an_ending_nothing_compresses() -> None:
    assert compressor_for(None) is None


def test_zstd_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "zstandard", None)
    with pytest.raises(MissingModule, match="zstandard"):
        compressor_for(".zst")


def test_what_is_abandoned_is_abandoned_behind_it_too() -> None:
    kept, compressor = Kept(), compressor_for(".gz")
    assert compressor is not None
    Compressing(kept, compressor).abandon()
    assert kept.end == "abandoned"
