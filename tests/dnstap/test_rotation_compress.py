"""Compressing closed files, or leaving nothing behind."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from dnsproxy.dnstap.rotation import Compression
from dnsproxy.dnstap.rotation_compress import compress, missing_module
from dnsproxy.dnstap.stream_file import is_locked
from tests.dnstap.disk import Disk
from tests.dnstap.tap_files import names, octets
from tests.support.programs import require_program

PLAIN = b"octets that come again and again, " * 10_000


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "dns.fstrm.part"
    path.write_bytes(PLAIN)
    os.utime(path, ns=(1_700_000_000_000_000_001, 1_700_000_000_000_000_002))
    return path


@pytest.mark.parametrize(("compression", "name"), [("gzip", "dns.fstrm.gz"), ("zstd", "dns.fstrm.zst")])
def test_what_is_compressed_is_whole_small_and_as_old(source: Path, compression: Compression, name: str) -> None:
    target = source.with_name(name)
    target.write_bytes(b"half of an earlier try" * 1000)
    compress(source, target, compression)
    assert octets(target) == PLAIN
    assert target.stat().st_size < len(PLAIN) / 50
    assert target.stat().st_mtime_ns == source.stat().st_mtime_ns == 1_700_000_000_000_000_002
    assert target.stat().st_mode & 0o777 == 0o640
    assert not is_locked(target)
    assert source.read_bytes() == PLAIN


@pytest.mark.interop
@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_real_programs_unpack_it(source: Path, compression: Compression) -> None:
    program, target = require_program(compression), source.with_name("packed")
    compress(source, target, compression)
    assert subprocess.run([program, "-dc"], input=target.read_bytes(), check=True, capture_output=True).stdout == PLAIN


def test_when_it_fails_nothing_is_left(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", Disk(monkeypatch).refuse)
    with pytest.raises(OSError, match="No space left"):
        compress(source, source.with_name("dns.fstrm.gz.tmp"), "gzip")
    assert names(source.parent) == ["dns.fstrm.part"]


def test_only_zstd_takes_a_module_that_may_be_missing(monkeypatch: pytest.MonkeyPatch, source: Path) -> None:
    assert [missing_module(None), missing_module("gzip"), missing_module("zstd")] == [None, None, None]
    monkeypatch.setitem(sys.modules, "zstandard", None)
    assert [missing_module(None), missing_module("gzip"), missing_module("zstd")] == [None, None, "zstandard"]
    with pytest.raises(ImportError):
        compress(source, source.with_name("dns.fstrm.zst.tmp"), "zstd")
    assert names(source.parent) == ["dns.fstrm.part"]
