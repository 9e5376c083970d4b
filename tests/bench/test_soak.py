"""The soak: its upstream does all that upstreams do wrong, and whatever grows or is lost breaks a bound."""

from collections import Counter
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import dns.exception
import dns.flags
import dns.message
import pytest
from soak import MISCHIEF, Watch, Weather, answer_checks, level_checks, tap_checks

from tests.support import wire
from tests.support.proxy import Status

QUERY = wire.query("www.example.org", id=0x1234)
MIB = 1024  # KiB


class Noted:
    """A query over UDP that notes how it is met."""

    wire = QUERY
    seen = SimpleNamespace(id=0x1234)
    connection = None
    upstream = SimpleNamespace(answer_address="192.0.2.1", host="127.0.0.1", port=5301)
    delay_s = 0.0

    def __init__(self) -> None:
        self.met: set[str] = set()

    def reply(self, octets: bytes) -> None:
        self.met.add("delayed" if self.delay_s else "answered")
        try:
            message = dns.message.from_wire(octets)
        except dns.exception.DNSException:
            self.met.add("no message")
            return
        if message.id != 0x1234:
            self.met.add("wrong ID")
        elif octets[12 : len(QUERY)] != QUERY[12:]:
            self.met.add("wrong question")
        elif message.flags & dns.flags.TC:
            self.met.add("truncated")

    def reply_from(self, host: str, port: int, _octets: bytes) -> None:
        self.met.add("wrong source" if (host, port) != ("127.0.0.1", 5301) else "answered")

    def close(self) -> None:
        self.met.add("closed")


def met(behaviour: Any) -> set[str]:
    noted = Noted()
    behaviour(noted)
    return noted.met or {"lost"}


def test_its_upstream_loses_delays_truncates_and_lies() -> None:
    shares: Counter[str] = Counter()
    for share, behaviour in MISCHIEF:
        shares.update(dict.fromkeys(met(behaviour), share))
    assert min(shares[what] for what in ("lost", "delayed", "truncated", "wrong ID", "wrong source")) >= 1
    assert min(shares[what] for what in ("wrong question", "no message", "closed")) > 0


class Turns:
    """A clock by which so many pauses pass at once."""

    def __init__(self, pauses: int) -> None:
        self.left = pauses

    def wait(self, _seconds: float) -> bool:
        self.left -= 1
        return self.left < 0


def test_upstreams_die_and_collectors_go_and_all_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second, steady, killed = (MagicMock() for _ in range(4))
    monkeypatch.setattr(Weather, "_visit", lambda _: None)
    over: Any = Turns(pauses=20)
    Weather(0, [first, second], steady, killed, over).run()
    for upstream in (first, second):
        assert upstream.close_port.call_count == upstream.open_port.call_count > 0
    assert steady.stop.call_count == steady.start.call_count > 0
    assert killed.kill.call_count == killed.start.call_count > 0


def watch(rss_kib: list[int], files: list[int]) -> Watch:
    proxy: Any = None
    return Watch(proxy, rss_kib=rss_kib, files=files)


@pytest.mark.parametrize(
    ("last_kib", "last_files", "held"),
    [(51 * MIB, 40, [True, True]), (60 * MIB, 40, [False, True]), (51 * MIB, 90, [True, False])],
)
def test_memory_and_descriptors_must_be_level_at_the_end(last_kib: int, last_files: int, held: list[bool]) -> None:
    growing = watch([50 * MIB] * 6 + [last_kib] * 2, [40] * 6 + [last_files] * 2)
    assert [ok for _, ok, _ in level_checks(growing)] == held


def broken_answers(**tally: int) -> list[str]:
    counted = Counter(
        {"asked": 100, "answered": 100, "rcode 0": 99} | {key.replace("_", " "): n for key, n in tally.items()}
    )
    load: Any = SimpleNamespace(tally=counted)
    return [claim for claim, ok, _ in answer_checks(load, 0, {"upstreams": [{"in_flight": 0}]}) if not ok]


def test_every_client_must_have_its_own_answer() -> None:
    assert broken_answers() == []
    assert broken_answers(lost=1) == ["every query is answered"]
    assert broken_answers(wrong_answers=1) == ["by its own answer"]
    assert broken_answers(unasked_answers=1) == ["by its own answer"]
    assert broken_answers(connections_lost=1) == ["TCP connections are kept"]


def broken_taps(offered: int, sent: int, received: int) -> list[str]:
    def tap(**more: int) -> Status:
        return {"offered": 8, "sent": 8, "queued": 0, "dropped": {"queue_full": 0}, **more}

    absent = {**tap(sent=0), "dropped": {"queue_full": 8}}
    both_sides = {"queries": 4, "responses": 4}
    status = {"listeners": [both_sides], "upstreams": [], "taps": [tap(offered=offered, sent=sent), tap(), absent]}
    weather: Any = SimpleNamespace(steady=SimpleNamespace(received=received), killed=SimpleNamespace(received=7))
    return [claim for claim, ok, _ in tap_checks(watch([1], [1]), weather, status) if not ok]


def test_what_taps_say_must_balance_and_arrive() -> None:
    assert broken_taps(8, 8, 8) == []
    assert broken_taps(8, 7, 7) == ["the taps' books balance"]
    assert broken_taps(9, 9, 9) == ["taps are offered what both sides count"]
    assert broken_taps(8, 8, 7) == ["what was sent has arrived"]
