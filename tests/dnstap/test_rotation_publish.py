"""Names for complete files: given once, never taken from another."""

import os
from pathlib import Path
from typing import Any

import pytest

from dnsproxy.dnstap.rotation_publish import is_published, publish
from tests.dnstap.tap_files import names


@pytest.fixture(params=[True, False], ids=["hard links", "no hard links"])
def folder(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """With both kinds of file systems."""

    def refuse(*_arguments: Any, **_options: Any) -> None:
        raise PermissionError

    if not request.param:
        monkeypatch.setattr(os, "link", refuse)
    return tmp_path


def test_a_file_loses_its_ending(folder: Path) -> None:
    part = folder / "dns.3.fstrm.part"
    part.write_bytes(b"octets")
    assert publish(part, folder / "dns.fstrm") == folder / "dns.3.fstrm"
    assert names(folder) == ["dns.3.fstrm"]
    assert (folder / "dns.3.fstrm").read_bytes() == b"octets"


@pytest.mark.parametrize(("temporary", "packed"), [("dns.fstrm.part", ""), ("dns.fstrm.gz.tmp", ".gz")])
def test_where_a_name_is_taken_the_next_number_is(folder: Path, temporary: str, packed: str) -> None:
    (folder / f"dns.fstrm{packed}").write_bytes(b"precious")
    (folder / temporary).write_bytes(b"octets")
    assert publish(folder / temporary, folder / "dns.fstrm") == folder / f"dns.1.fstrm{packed}"
    assert names(folder) == sorted([f"dns.fstrm{packed}", f"dns.1.fstrm{packed}"])
    assert (folder / f"dns.fstrm{packed}").read_bytes() == b"precious"


def test_a_file_that_is_gone_is_an_error(folder: Path) -> None:
    with pytest.raises(FileNotFoundError):
        publish(folder / "dns.fstrm.part", folder / "dns.fstrm")


def test_a_part_is_published_where_its_name_is_of_the_same_age(tmp_path: Path) -> None:
    part, other = tmp_path / "dns.fstrm.part", tmp_path / "dns.fstrm.zst"
    part.touch()
    other.touch()
    os.utime(part, ns=(1, 5))
    os.utime(other, ns=(1, 6))
    assert not is_published(part)
    os.utime(other, ns=(2, 5))
    assert is_published(part)
