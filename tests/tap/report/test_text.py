"""The report for a terminal."""

from dnsproxy.tap.frame import TapFrame
from dnsproxy.tap.report.summary import Summary
from dnsproxy.tap.report.text import lines
from dnsproxy.tap.tally import Tally
from tests.tap.dialogue import Dialogue
from tests.tap.frames import payload


def report(tally: Tally) -> str:
    return "\n".join(lines(Summary(tally, 10)))


def test_it_tells_what_there_was_and_how_long_it_took() -> None:
    tally = Tally()
    tally.add([*Dialogue().whole(0, 20), *Dialogue("b.test", "AAAA").whole(1000, 40, rcode="SERVFAIL")])
    assert report(tally) == (
        "8 messages, 7.7 per second, half answered within 20 ms, 99 % answered within 40 ms, 50 % with an error, "
        "0 damaged frames\n"
        "2023-11-14T22:13:20.000000000Z to 2023-11-14T22:13:21.040000000Z\n"
        "\n"
        "type                messages    protocol  messages    qtype  messages    rcode     messages\n"
        "CLIENT_QUERY               2    UDP              8    A             4    NOERROR          2\n"
        "CLIENT_RESPONSE            2                          AAAA          4    SERVFAIL         2\n"
        "FORWARDER_QUERY            2\n"
        "FORWARDER_RESPONSE         2\n"
        "\n"
        "latency             messages   half   90 %   99 %  longest\n"
        "CLIENT_RESPONSE            2  20 ms  40 ms  40 ms    40 ms\n"
        "FORWARDER_RESPONSE         2  18 ms  38 ms  38 ms    38 ms\n"
        "\n"
        "name              messages    client     messages    upstream         messages\n"
        "b.test.                  4    192.0.2.7         4    198.51.100.1:53         4\n"
        "www.example.org.         4"
    )


def test_of_nothing_it_says_so() -> None:
    assert report(Tally()) == (
        "0 messages, – per second, half answered within –, 99 % answered within –, 0 % with an error, 0 damaged frames"
    )


def test_it_says_when_counts_are_not_exact() -> None:
    tally = Tally(kept=1)
    tally.add([Dialogue(f"www{number}.example.org").asked(number) for number in range(5)])
    assert "counts are at least" in report(tally)


def test_a_type_that_nobody_knows_is_shown() -> None:
    tally = Tally()
    tally.add([TapFrame(payload("TOOL_RESPONSE").replace(b"\x08\x0c", b"\x08\x64", 1))])
    assert "unknown types" in report(tally)
