"""The forms of `--bind -p` and `--bind -x`."""

from dnsproxy.tap.forms.bind_short import BindShort
from dnsproxy.tap.forms.bind_text import BindHex, BindText
from dnsproxy.tap.frame import TapFrame
from tests.tap.frames import QUERY, payload

TEXT = (
    ";; ->>HEADER<<- opcode: QUERY, status: NOERROR, id:   4660\n"
    ";; flags: rd; QUESTION: 1, ANSWER: 0, AUTHORITY: 0, ADDITIONAL: 1\n"
    ";; OPT PSEUDOSECTION:\n"
    "; EDNS: version: 0, flags:; udp: 1232\n"
    ";; QUESTION SECTION:\n"
    ";www.example.org.\t\tIN\tA\n"
    "\n"
)


def test_the_message_follows_the_line() -> None:
    frame = TapFrame(payload())
    line = BindShort(utc=True).write(frame)
    assert BindText(utc=True).write(frame) == line + TEXT
    assert BindHex(utc=True).write(frame) == f"{line}{QUERY.hex().upper()}\n"


def test_a_message_that_cannot_be_parsed_has_only_the_line() -> None:
    frame = TapFrame(payload(message=QUERY[:-1]))
    line = BindShort(utc=True).write(frame)
    assert line.endswith("?/?/?\n")
    assert BindText(utc=True).write(frame) == BindHex(utc=True).write(frame) == line


def test_a_message_without_question_is_passed_over() -> None:
    frame = TapFrame(payload(message=bytes(12)))
    assert BindText().write(frame) == BindHex().write(frame) == ""


def test_where_an_address_has_no_line_the_message_stands_alone() -> None:
    frame = TapFrame(payload(query_address=b"\1"))
    assert BindText().write(frame) == TEXT
