"""The client's address where no option has it: in names, record data and octets that are no message."""

import dns.message
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dnsproxy import wire
from dnsproxy.dnstap.anonymizer import Prefixing
from dnsproxy.dnstap.redact import OptionRules, Redactor, cut, walk, without_address
from tests.dnstap.hiding import (
    EDE,
    NSID,
    QUESTION,
    TO_QNAME,
    forms,
    message,
    opt,
    option,
    packed,
    record,
    telling_messages,
    trace,
)

CLIENT, SEEN = "192.0.2.77", "192.0.2.0"
CLIENT6, SEEN6 = "2001:db8:1:2::77", "2001:db8:1::"
A_RECORD = record(1, packed("198.51.100.1"))


@pytest.mark.parametrize(
    ("client", "seen", "rtype"), [(CLIENT, SEEN, 1), (CLIENT6, SEEN6, 28), (CLIENT, SEEN, 28), (CLIENT, SEEN, 65)]
)
def test_a_client_that_is_the_answer_is_overwritten_there(client: str, seen: str, rtype: int) -> None:
    before = {28: b"\0" * 10 + b"\xff\xff" if client == CLIENT else b"", 65: b"\0\1\0\0\4\0\4"}.get(rtype, b"")
    records = A_RECORD + record(rtype, before + packed(client)) + opt()
    octets = message(records, (2, 0, 1), response=True)
    expected = A_RECORD + record(rtype, before + packed(seen)) + opt()
    assert without_address(octets, trace(client, seen)) == message(expected, (2, 0, 1), response=True)
    dns.message.from_wire(without_address(octets, trace(client, seen)))


@pytest.mark.parametrize("client", [CLIENT, CLIENT6])
def test_a_text_that_tells_the_client_its_address_goes_with_all_records(client: str) -> None:
    text = record(16, bytes((len(client),)) + client.encode())
    octets = message(text + opt(option(NSID, b"x"), rcode=1), (1, 0, 1), response=True)
    seen = without_address(octets, trace(client, SEEN if client == CLIENT else SEEN6))
    assert seen == message(opt(rcode=1), (0, 0, 1), response=True)


@pytest.mark.parametrize("client", [CLIENT, CLIENT6])
def test_a_client_that_asks_for_its_own_name_asks_for_the_roots(client: str) -> None:
    arpa = b"\7in-addr\4arpa\0" if client == CLIENT else b"\3ip6\4arpa\0"
    question = forms(client)[2] + arpa + b"\0\x0c\0\1"
    answer = record(12, b"\6laptop\3lan\0")
    seen = without_address(message(answer, (1, 0, 0), question=question, response=True), trace(client, client))
    assert seen == message(question=b"\0\0\x0c\0\1", response=True)


def test_options_that_tell_the_clients_address_go() -> None:
    told = option(EDE, b"\0\x0fnot for 192.0.2.77")
    octets = message(A_RECORD + opt(told), (1, 0, 1), response=True)
    seen = without_address(octets, trace(CLIENT, SEEN))
    assert seen == message(A_RECORD + opt(), (1, 0, 1), response=True)
    in_the_middle = message(opt(told) + A_RECORD, (0, 0, 2), response=True)
    assert without_address(in_the_middle, trace(CLIENT, SEEN)) == message(opt(), (0, 0, 1), response=True)


def test_octets_that_are_no_address_stay() -> None:
    octets = message(A_RECORD, (1, 0, 0), response=True)  # type A, class IN, and a TTL below 65536: 1.0.0.1
    assert without_address(octets, trace("1.0.0.1", "1.0.0.0")) == octets


@pytest.mark.parametrize(("client", "seen"), [("203.0.113.77", "203.0.113.0"), (CLIENT6, SEEN6)])
@given(data=st.data())
def test_no_form_of_the_address_is_left_and_the_message_can_be_walked(
    client: str, seen: str, data: st.DataObject
) -> None:
    octets = Redactor(OptionRules(Prefixing(24, 56))).message(data.draw(telling_messages(client)))
    hidden = without_address(octets, trace(client, seen))
    assert not any(form in hidden.lower() for form in forms(client)[1:])
    assert packed(client) not in hidden
    assert walk(hidden)[2] == len(hidden)


@given(st.lists(st.one_of(st.binary(max_size=9), st.sampled_from(forms("203.0.113.77"))), max_size=6).map(b"".join))
def test_of_octets_that_cannot_be_walked_no_form_of_the_address_is_left(octets: bytes) -> None:
    told = trace("203.0.113.77", "203.0.113.0")
    octets = bytes(4) + b"\0\1\xff\xff\0\0\0\0" + octets
    seen = without_address(octets, told)
    assert not told.is_in(seen, 12)
    assert walk(seen)[2] == len(seen)


@given(st.binary(max_size=60))
def test_any_octets_can_be_cut_to_something_that_can_be_walked(octets: bytes) -> None:
    for told in (None, trace(CLIENT, SEEN)):
        seen = cut(octets, told)
        assert (walk(seen)[2] if seen else 0) == len(seen)
        assert cut(seen, told) == seen


def test_a_walk_says_what_is_missing() -> None:
    for octets in (b"", bytes(11), message(question=QUESTION[:-1]), message(A_RECORD[:-1], (1, 0, 0))):
        with pytest.raises(wire.WireError):
            walk(octets)


def test_walking_finds_every_record() -> None:
    octets = message(A_RECORD + opt(), (1, 0, 1))
    first, records, end = walk(octets)
    assert (first, end) == (12 + len(QUESTION), len(octets))
    assert records == [(1, first, first + 2, first + len(A_RECORD)), (41, first + 16, first + 17, end)]
    assert octets[first : first + 2] == TO_QNAME
