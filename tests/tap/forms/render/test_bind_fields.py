"""Fields of record data as BIND prints them."""

from dnsproxy.tap.forms.render.bind_fields import STARTED_S, base64_words, hex_words, stamp_near_now
from dnsproxy.tap.forms.render.go import stamp_text


def test_long_digits_have_spaces_after_every_56() -> None:
    assert [len(word) for word in hex_words(bytes(60)).split()] == [56, 56, 8]
    assert [len(word) for word in base64_words(bytes(90)).split()] == [56, 56, 8]
    assert hex_words(bytes(28)) == "0" * 56
    assert base64_words(b"") == ""


def test_a_time_of_32_bits_is_the_one_next_to_now() -> None:
    assert stamp_near_now(STARTED_S & 0xFFFF_FFFF) == stamp_text(STARTED_S)
    ahead = STARTED_S + 0x7FFF_FFFF
    assert stamp_near_now(ahead & 0xFFFF_FFFF) == stamp_text(ahead)
    assert stamp_near_now(ahead + 1 & 0xFFFF_FFFF) == stamp_text(STARTED_S - 0x8000_0000)
