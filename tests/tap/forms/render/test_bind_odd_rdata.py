"""What BIND asks of the owners of NSEC3 records; the rest of its forms is tested with all types."""

import pytest

from dnsproxy.tap.forms.render.bind_odd_rdata import is_hashed_owner


@pytest.mark.parametrize("label", [b"", b"00", b"0G", b"0123456789abcdefghijklmnopqrstuv", b"G0000", b"0000000"])
def test_a_hash_is_base32_without_padding(label: bytes) -> None:
    assert is_hashed_owner(label)


@pytest.mark.parametrize("label", [b"0", b"000", b"0V", b"0W", b"01", b"00=", b"00======", b"\x00\x00", b"0000001"])
def test_other_labels_are_no_hash(label: bytes) -> None:
    assert not is_hashed_owner(label)
