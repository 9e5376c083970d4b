"""Words for numbers are those of the schema and of IANA's registries."""

import dns.opcode
import dns.rcode
import dns.rdataclass
import dns.rdatatype

from dnsproxy.tap.words import CLASSES, EXTENDED_ERRORS, OPCODES, OPTIONS, RCODES, TYPES, rcode_word, word


def test_types_are_those_that_dnspython_knows() -> None:
    known = {int(each): dns.rdatatype.to_text(each) for each in dns.rdatatype.RdataType}
    assert {number: TYPES.get(number) for number in known if number} == {n: text for n, text in known.items() if n}


def test_other_words_are_those_that_dnspython_knows() -> None:
    assert {int(each): dns.rcode.to_text(each) for each in dns.rcode.Rcode} | {16: "BADVERS"} == RCODES
    assert {int(each): dns.opcode.to_text(each) for each in dns.opcode.Opcode}.items() <= OPCODES.items()
    assert all(dns.rdataclass.from_text(text) == number for number, text in CLASSES.items())


def test_an_unknown_number_is_shown_as_it_is() -> None:
    assert (word(CLASSES, 7), rcode_word(3841), rcode_word(16)) == ("7", "3841", "BADVERS")


def test_options_have_iana_s_names() -> None:
    assert (OPTIONS[3], OPTIONS[10], OPTIONS[8]) == ("NSID", "COOKIE", "edns-client-subnet")
    assert (EXTENDED_ERRORS[15], EXTENDED_ERRORS[18], len(EXTENDED_ERRORS)) == ("Blocked", "Prohibited", 31)
