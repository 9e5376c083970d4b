"""The documents of `--bind -y`."""

from dnsproxy.tap.forms.bind_yaml import BindYaml
from dnsproxy.tap.frame import TapFrame
from tests.tap.frames import QUERY, payload

QUERY_DOCUMENT = (
    "type: MESSAGE\n"
    "identity: ns1\n"
    "version: test 1\n"
    "message:\n"
    "  type: CLIENT_QUERY\n"
    "  query_time: !!timestamp 2023-11-14T22:13:20Z\n"
    f"  message_size: {len(QUERY)}b\n"
    "  socket_family: INET\n"
    "  socket_protocol: UDP\n"
    '  query_address: "192.0.2.7"\n'
    '  response_address: "192.0.2.53"\n'
    "  query_port: 40000\n"
    "  response_port: 53\n"
    "  query_zone: .\n"
    "  query_message_data:\n"
    "    opcode: QUERY\n"
    "    status: NOERROR\n"
    "    id: 4660\n"
    "    flags: rd\n"
    "    QUESTION: 1\n"
    "    ANSWER: 0\n"
    "    AUTHORITY: 0\n"
    "    ADDITIONAL: 1\n"
    "    OPT_PSEUDOSECTION:\n"
    "      EDNS:\n"
    "        version: 0\n"
    "        flags:\n"
    "        udp: 1232\n"
    "    QUESTION_SECTION:\n"
    "      - 'www.example.org. IN A'\n"
    "  query_message: |\n"
    "    ;; ->>HEADER<<- opcode: QUERY, status: NOERROR, id:   4660\n"
    "    ;; flags: rd    ; QUESTION: 1, ANSWER: 0, AUTHORITY: 0, ADDITIONAL: 1\n"
    "    ;; OPT PSEUDOSECTION:\n"
    "    ; EDNS: version: 0, flags:; udp: 1232\n"
    "    ;; QUESTION SECTION:\n"
    "    ;www.example.org.\t\tIN\tA\n"
    "    \n"
)


def write(octets: bytes) -> str:
    return BindYaml().write(TapFrame(octets))


def test_a_query_has_every_field_that_is_there() -> None:
    assert write(payload(query_zone=b"\0")) == QUERY_DOCUMENT


def test_a_line_stands_between_documents() -> None:
    form = BindYaml()
    frames = [
        payload(message=bytes(12)),
        payload(query_zone=b"\0"),
        payload(message=bytes(12)),
        payload(query_zone=b"\0"),
    ]
    texts = [form.write(TapFrame(octets)) for octets in frames]
    assert texts == ["", QUERY_DOCUMENT, "", "---\n" + QUERY_DOCUMENT]


def test_a_response_has_its_own_time_and_keys() -> None:
    text = write(payload("CLIENT_RESPONSE", QUERY, query_message=QUERY))
    assert "query_time" not in text
    assert "  response_time: !!timestamp 2023-11-14T22:13:20Z\n" in text
    assert "  response_message_data:\n" in text
    assert "  response_message: |\n" in text


def test_what_is_absent_is_left_out_but_the_protocol_and_the_size() -> None:
    nothing = dict.fromkeys(["identity", "version", "socket_family", "socket_protocol", "query_time"])
    nothing |= dict.fromkeys(["query_address", "response_address", "query_port", "response_port"])
    assert write(payload("TOOL_QUERY", None, **nothing)) == (
        "type: MESSAGE\nmessage:\n  type: TOOL_QUERY\n  message_size: 0b\n  socket_protocol: UDP\n"
    )


def test_identity_and_version_are_octets_up_to_the_first_zero() -> None:
    text = write(payload(identity=b"\xff'a: b\0c", version=b"")).encode("utf-8", "surrogateescape")
    assert b"\nidentity: \xff'a: b\nversion: \nmessage:\n" in text


def test_a_zone_that_is_no_name_is_left_out() -> None:
    for zone in (b"", b"\3ab", b"\xc0\x00"):
        assert "query_zone" not in write(payload(query_zone=zone))


def test_an_address_of_the_wrong_size_ends_nothing() -> None:
    assert '  query_address: "102::"\n' in write(payload(query_address=b"\1\2"))
