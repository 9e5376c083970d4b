"""Record types and rcodes, in words and numbers."""

from pathlib import Path

import pytest

from dnsproxy import dns_words
from dnsproxy.options import Reader
from dnsproxy.readers import reader_for


def reader(annotation: object) -> Reader:
    return reader_for(annotation, lambda cls: pytest.fail(f"{cls} is no table"))


QTYPE, RCODE = reader(dns_words.Qtype), reader(dns_words.Rcode)


@pytest.mark.parametrize(
    ("written", "number"),
    [("A", 1), ("aaaa", 28), ("Https", 65), ("TYPE65", 65), ("type65534", 65534), ("ANY", 255), (16, 16), (0, 0)],
)
def test_a_record_type_is_a_word_in_any_case_or_a_number(written: str | int, number: int) -> None:
    assert QTYPE.read(written, Path("/")) == number


@pytest.mark.parametrize("written", ["", "NO-SUCH", "TYPE65536", "TYPE", "TYPE-1", "A ", 65536, -1])
def test_what_is_no_record_type_is_an_error(written: str | int) -> None:
    with pytest.raises(ValueError, match=r'is no record type; (did you mean "\w+"\? )?expected '):
        QTYPE.read(written, Path("/"))


@pytest.mark.parametrize(
    ("written", "number"), [("NOERROR", 0), ("nxdomain", 3), ("ServFail", 2), ("BADVERS", 16), (3841, 3841), (0, 0)]
)
def test_an_rcode_is_a_word_in_any_case_or_a_number(written: str | int, number: int) -> None:
    assert RCODE.read(written, Path("/")) == number


@pytest.mark.parametrize("written", ["", "NO-SUCH", "2", 4096, -1])
def test_what_is_no_rcode_is_an_error(written: str | int) -> None:
    with pytest.raises(ValueError, match="is no rcode; expected "):
        RCODE.read(written, Path("/"))


@pytest.mark.parametrize("written", [True, 1.5, ["A"]])
def test_neither_is_of_another_kind(written: object) -> None:
    for one in (QTYPE, RCODE):
        with pytest.raises(ValueError, match="is a"):
            one.read(written, Path("/"))


def test_both_are_shown_in_words_where_there_are_words() -> None:
    assert [dns_words.show_qtype(qtype) for qtype in (1, 65, 65534)] == ['"A"', '"HTTPS"', '"TYPE65534"']
    assert [dns_words.show_rcode(rcode) for rcode in (2, 16, 3841)] == ['"SERVFAIL"', '"BADVERS"', "3841"]


def test_a_word_that_is_nearly_one_is_guessed() -> None:
    with pytest.raises(ValueError, match=r'^"nxdoman" is no rcode; did you mean "NXDOMAIN"\? expected an rcode'):
        dns_words.parse_rcode("nxdoman")
    with pytest.raises(ValueError, match=r'^"CNAMEE" is no record type; did you mean "CNAME"\? expected a record type'):
        dns_words.parse_qtype("CNAMEE")
