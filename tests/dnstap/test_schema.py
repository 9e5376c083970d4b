"""Numbers and words of the schema."""

import pytest

from dnsproxy.dnstap import dnstap_pb2, schema
from dnsproxy.dnstap.schema import ALL_TYPES, MessageType, select_types

MNEMONICS = "AQ AR RQ RR CQ CR FQ FR SQ SR TQ TR UQ UR"


@pytest.mark.parametrize(
    ("ours", "published"),
    [
        (schema.MessageType, dnstap_pb2.Message.Type),
        (schema.SocketFamily, dnstap_pb2.SocketFamily),
        (schema.SocketProtocol, dnstap_pb2.SocketProtocol),
        (schema.HttpProtocol, dnstap_pb2.HttpProtocol),
        (schema.PolicyAction, dnstap_pb2.Policy.Action),
        (schema.PolicyMatch, dnstap_pb2.Policy.Match),
    ],
)
def test_our_words_and_numbers_are_those_of_the_published_schema(ours: object, published: object) -> None:
    assert {name: int(member) for name, member in ours.__members__.items()} == dict(published.items())  # type: ignore[attr-defined]


def test_mnemonics_are_those_that_the_dnstap_program_prints() -> None:
    assert [type.mnemonic for type in MessageType] == MNEMONICS.split()


@pytest.mark.parametrize(
    ("words", "mnemonics"),
    [
        ("CLIENT_QUERY", "CQ"),
        ("client_query", "CQ"),
        ("client query", "CQ"),
        ("cq", "CQ"),
        ("FR", "FR"),
        ("client", "CQ CR"),
        ("Forwarder", "FQ FR"),
        ("forwarder response", "FR"),
        ("query", "AQ RQ CQ FQ SQ TQ UQ"),
        ("RESPONSE", "AR RR CR FR SR TR UR"),
        ("all query", "AQ RQ CQ FQ SQ TQ UQ"),
        ("All  Response", "AR RR CR FR SR TR UR"),
        ("all_response", "AR RR CR FR SR TR UR"),
    ],
)
def test_operators_name_types_as_they_like(words: str, mnemonics: str) -> None:
    assert {type.mnemonic for type in select_types(words)} == set(mnemonics.split())


def test_all_means_all() -> None:
    assert select_types("all") == ALL_TYPES == frozenset(MessageType)


@pytest.mark.parametrize("words", ["", " ", "CX", "clients", "query client", "client query query", "query all", "5"])
def test_words_that_mean_nothing_are_an_error_that_names_those_that_mean_something(words: str) -> None:
    with pytest.raises(ValueError, match=r'is no message type; (did you mean "\w+"\? )?expected ') as raised:
        select_types(words)
    for word in ("all", "auth", "client", "forwarder", "resolver", "stub", "tool", "update", "query", "response"):
        assert f'"{word}"' in str(raised.value)


def test_a_word_that_is_nearly_one_is_guessed() -> None:
    with pytest.raises(ValueError, match=r'"CLIENT_QUERRY" is no message type; did you mean "CLIENT_QUERY"\? expected'):
        select_types("CLIENT_QUERRY")
    with pytest.raises(ValueError, match=r'"clients" is no message type; did you mean "client"\? expected'):
        select_types("clients")
