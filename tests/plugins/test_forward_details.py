"""What forward changes in queries, from the client to the upstream and back: forged replies, cookies, subnets."""

from typing import Any

import dns.flags
import pytest

from tests.plugins.forwarding import NOERROR, SERVFAIL, A, B, configured, counts, forward
from tests.support import wire as dns_wire
from tests.support.behaviours import ANSWER_FLAGS, answer_wire
from tests.support.offline import Asked, Offline, addresses, query, reply
from tests.support.wire import COOKIE, ECS

BADCOOKIE = 23
SERVER_COOKIE = b"the server's one"
TCP_A = f"tcp://{A}"


def lower_casing(octets: bytes) -> bytes:
    answer = reply(octets)
    end = dns_wire.question_end(octets)
    return answer[:12] + answer[12:end].lower() + answer[end:]


def cookie_in(octets: bytes) -> bytes:
    return dict(dns_wire.options(octets)).get(COOKIE, b"")


def with_cookie(octets: bytes, server: bytes = SERVER_COOKIE, *, extended_rcode: int = 0, rcode: int = 0) -> bytes:
    option = dns_wire.option(COOKIE, cookie_in(octets)[:8] + server)
    answer = answer_wire(octets, rcode=rcode, options=option)
    at = len(answer) - len(option) - 6
    return answer[:at] + bytes((extended_rcode,)) + answer[at + 1 :]


def bad_cookie(octets: bytes, server: bytes = SERVER_COOKIE) -> bytes:
    return with_cookie(octets, server, extended_rcode=BADCOOKIE >> 4, rcode=BADCOOKIE & 15)


def upstream_of(offline: Offline) -> dict[str, Any]:
    return offline.upstreams[A].upstream_status()


def asked(offline: Offline) -> list[bytes]:
    """What the upstream saw of clients' queries."""
    return [octets for server, octets in offline.network.asked if server in (A, TCP_A) and len(octets) > 30]


# 0x20


def test_questions_go_out_in_random_case_and_answers_come_back_in_the_clients(offline: Offline) -> None:
    configured(offline, forward(A, qname_case="0x20"), A=reply)
    answers = [offline.ask("www.Example.org", id=7) for _ in range(20)]
    sent = {octets[12:29] for octets in asked(offline)}
    assert len(sent) > 15
    assert {octets.lower() for octets in sent} == {b"\3www\7example\3org\0"}
    assert all(one.answers[0] == reply(query("www.Example.org", id=7)) for one in answers)


def test_a_reply_in_another_case_is_counted_and_the_wait_goes_on(offline: Offline) -> None:
    def both(octets: bytes) -> list[Any]:
        return [lower_casing(octets), (0.3, reply(octets, "192.0.2.9"))]

    configured(offline, forward(A, qname_case="0x20"), A=both)
    one = offline.ask("a-name-with-many-letters.example.org", run_s=1)
    assert one.addresses == ["192.0.2.9"]
    assert len(asked(offline)) == 1
    assert upstream_of(offline)["mismatches"] == 1


def test_an_upstream_that_lower_cases_is_asked_by_tcp_and_after_three_times_without(
    offline: Offline, caplog: pytest.LogCaptureFixture
) -> None:
    configured(offline, forward(A, qname_case="0x20"), A=lower_casing)
    offline.network.scripts[TCP_A] = reply
    name = "A-name-with-many-letters.example.org"
    for number in range(6):
        one = offline.ask(name, run_s=2.5)
        assert (one.rcode, one.answers[0][12:48]) == (NOERROR, query(name)[12:48])
        assert one.label("attempts") == (2 if number < 3 else 1)
    assert [octets[12:48] for octets in offline.network.asked_for(A)[-3:]] == [query(name)[12:48]] * 3
    assert upstream_of(offline)["mismatches"] == 3
    assert upstream_of(offline)["state"] == "up"
    assert [record.message for record in caplog.records] == [
        f"upstream udp://{A} changes the case of questions: asked without 0x20 from now on"
    ]


def test_many_at_once_in_another_case_do_not_take_the_upstream_down(
    offline: Offline, caplog: pytest.LogCaptureFixture
) -> None:
    configured(offline, forward(A, qname_case="0x20"), A=lower_casing)
    offline.network.scripts[TCP_A] = reply
    clients = [offline.start(query(f"a-name-with-letters-{number}.example.org")) for number in range(8)]
    offline.run(2.5)
    assert [client.rcode for client in clients] == [NOERROR] * 8
    assert [record.message for record in caplog.records if "down" in record.message] == []


def test_now_and_then_another_case_is_no_habit(offline: Offline) -> None:
    configured(offline, forward(A, qname_case="0x20"))
    offline.network.scripts[TCP_A] = reply
    name = "a-name-with-many-letters.example.org"
    for number in range(8):
        offline.network.scripts[A] = reply if number % 2 else lower_casing
        assert offline.ask(name, run_s=2.5).rcode == NOERROR
    assert offline.network.asked_for(A)[-1][12:48] != query(name)[12:48]


def test_case_guards_nothing_over_tcp(offline: Offline) -> None:
    configured(offline, forward(A, qname_case="0x20"))
    offline.network.scripts[TCP_A] = lower_casing
    assert offline.ask("a-name-with-many-letters.example.org", protocol="TCP", run_s=1).rcode == NOERROR
    assert offline.network.asked_for(TCP_A)[0][12:48] == query("a-name-with-many-letters.example.org")[12:48]


# cookies


def test_the_upstreams_cookie_is_remembered_and_stays_here(offline: Offline) -> None:
    configured(offline, forward(A, cookies=True), A=with_cookie)
    for octets in (query(id=7), query(id=7, use_edns=0)):
        offline.start(octets)
        offline.run(0.1)
    bare = offline.ask(id=7)
    edns = offline.ask(id=7, use_edns=0)
    sent = [cookie_in(octets) for octets in asked(offline)]
    assert sent[0][:8] == sent[-1][:8]
    assert sent[0][8:] == b""
    assert sent[-1][8:] == SERVER_COOKIE
    assert bare.answers == [answer_wire(query(id=7))]
    assert edns.answers == [answer_wire(query(id=7, use_edns=0))]


def test_a_reply_with_the_wrong_cookie_or_none_is_not_believed(offline: Offline) -> None:
    configured(offline, forward(A, cookies=True), A=with_cookie)
    offline.ask("first.example.org")

    def forged(octets: bytes) -> list[Any]:
        without = answer_wire(octets, address="192.0.2.66")
        wrong = answer_wire(octets, address="192.0.2.66", options=dns_wire.option(COOKIE, bytes(24)))
        return [without, wrong, (0.2, with_cookie(octets))]

    offline.network.scripts[A] = forged
    assert offline.ask("second.example.org", run_s=1).addresses == ["192.0.2.1"]
    assert upstream_of(offline)["mismatches"] == 2
    assert len(asked(offline)) == 2


def test_an_upstream_that_gives_up_cookies_is_believed_again_after_three(offline: Offline) -> None:
    configured(offline, forward(A, cookies=True), A=with_cookie)
    offline.ask("first.example.org")
    offline.network.scripts[A] = answer_wire
    offline.network.scripts[TCP_A] = answer_wire
    attempts = [offline.ask(f"n{number}.example.org", run_s=2.5).label("attempts") for number in range(5)]
    assert attempts == [2, 2, 2, 1, 1], "the others had to go by TCP"
    assert upstream_of(offline)["state"] == "up"


def test_a_truncated_reply_without_cookie_leads_to_tcp_at_once(offline: Offline) -> None:
    configured(offline, forward(A, cookies=True), A=with_cookie)
    offline.ask("first.example.org")
    offline.network.scripts[A] = lambda octets: answer_wire(octets, flags=ANSWER_FLAGS | dns.flags.TC, empty=True)
    offline.network.scripts[TCP_A] = with_cookie
    assert offline.ask("second.example.org").addresses == ["192.0.2.1"]


def test_badcookie_is_asked_again_once_with_the_new_cookie(offline: Offline) -> None:
    def strict(octets: bytes) -> bytes:
        return with_cookie(octets) if cookie_in(octets)[8:] == SERVER_COOKIE else bad_cookie(octets)

    configured(offline, forward(A, cookies=True), A=strict)
    one = offline.ask()
    assert (one.rcode, one.addresses, one.label("attempts")) == (NOERROR, ["192.0.2.1"], 2)
    assert [cookie_in(octets)[8:] for octets in asked(offline)] == [b"", SERVER_COOKIE]
    assert offline.ask().label("attempts") == 1


@pytest.mark.parametrize("edns", [{}, {"use_edns": 0}])
def test_badcookie_for_ever_is_a_failure(offline: Offline, edns: dict[str, Any]) -> None:
    configured(offline, forward(A, cookies=True), A=bad_cookie)
    one = offline.ask(run_s=5, **edns)
    assert one.rcode == SERVFAIL
    assert len(asked(offline)) == 2


def test_an_upstream_with_nothing_but_badcookie_is_asked_twice_and_then_another(offline: Offline) -> None:
    keys = {"cookies": True, "policy": "sequential"}
    configured(offline, forward(A, B, **keys), A=bad_cookie, B=with_cookie)
    assert offline.ask(run_s=5).rcode == NOERROR
    assert counts(offline) == [2, 1, 0]


@pytest.mark.parametrize("attempts", [1, 2])
def test_what_badcookie_asks_for_is_none_of_the_attempts_that_may_fail(attempts: int, offline: Offline) -> None:
    tried: list[bytes] = []

    def strict(octets: bytes) -> bytes | None:
        tried.append(cookie_in(octets)[8:])
        if tried[-1] != SERVER_COOKIE:
            return bad_cookie(octets)
        return with_cookie(octets) if len(tried) > attempts else None

    configured(offline, forward(A, cookies=True, max_attempts=attempts), A=strict)
    one = offline.ask(run_s=5)
    assert (one.rcode, one.label("attempts")) == (NOERROR, attempts + 1)


# sizes


def test_what_does_not_fit_the_size_that_we_offer_comes_by_tcp(offline: Offline) -> None:
    def sized(octets: bytes) -> bytes:
        assert octets[-8:-6] == (1232).to_bytes(2)
        return answer_wire(octets, flags=ANSWER_FLAGS | dns.flags.TC, empty=True)

    configured(offline, forward(A, edns_size=1232), A=sized)
    offline.network.scripts[TCP_A] = reply
    assert offline.ask(use_edns=0, payload=4096).addresses == ["192.0.2.1"]


# subnets


def by_subnet(octets: bytes, scope: int | None = None) -> bytes:
    """An answer for the /24 (or as the scope says) that was sent: it tells which by its address."""
    sent = dict(dns_wire.options(octets)).get(ECS, b"")
    if not sent:
        return answer_wire(octets)
    address = ".".join(str(octet) for octet in (*sent[4:7], 99)) if sent[2] else "203.0.113.1"
    option = dns_wire.option(ECS, sent[:3] + bytes((sent[2] if scope is None else scope,)) + sent[4:])
    return answer_wire(octets, address=address, options=option)


SUBNETS = {"ecs": {"ipv4": 24, "ipv6": 56}}
NEAR, SAME, FAR = "192.0.2.7", "192.0.2.8", "192.0.2.200"


def ask_from(offline: Offline, client: str, **more: Any) -> Asked:
    return offline.ask(client=client, **more)


def test_one_subnet_is_joined_in_flight_and_two_are_not(offline: Offline) -> None:
    configured(offline, forward(A, ecs={"ipv4": 25}), A=lambda octets: [(0.1, by_subnet(octets))])
    clients = [offline.start(query(id=number), client=client) for number, client in enumerate((NEAR, SAME, FAR))]
    offline.run(1)
    sent = [dict(dns_wire.options(octets))[ECS] for octets in asked(offline)]
    assert sent == [dns_wire.ecs("192.0.2.0", 25)[1], dns_wire.ecs("192.0.2.128", 25)[1]]
    assert [len(client.answers) for client in clients] == [1, 1, 1]
    assert clients[0].answers[0][2:] == clients[1].answers[0][2:]


def test_a_kept_answer_is_for_the_subnet_it_was_given_for(offline: Offline) -> None:
    configured(offline, "[cache]\n", forward(A, ecs={"ipv4": 25}), A=by_subnet)
    states = [ask_from(offline, client).query.metadata["cache/state"] for client in (NEAR, SAME, FAR, FAR, NEAR)]
    assert states == ["miss", "hit", "miss", "hit", "hit"]
    assert len(asked(offline)) == 2


def test_those_who_are_joined_do_not_make_it_everybodys(offline: Offline) -> None:
    configured(offline, "[cache]\n", forward(A, ecs={"ipv4": 25}), A=lambda octets: [(0.1, by_subnet(octets))])
    for number in range(3):
        offline.start(query(id=number), client=NEAR)
    offline.run(1)
    assert ask_from(offline, FAR, run_s=1).query.metadata["cache/state"] == "miss"


def test_only_an_answer_of_scope_0_is_everybodys(offline: Offline) -> None:
    configured(offline, "[cache]\n", forward(A, ecs={"ipv4": 25}), A=lambda octets: by_subnet(octets, scope=0))
    states = [ask_from(offline, client).query.metadata["cache/state"] for client in (NEAR, FAR)]
    assert states == ["miss", "hit"]


def test_what_was_everybodys_and_is_no_more_is_forgotten(offline: Offline) -> None:
    configured(offline, "[cache]\nserve_stale = '1h'\n", forward(A, ecs={"ipv4": 25}))
    offline.network.scripts[A] = lambda octets: by_subnet(octets, scope=0)
    ask_from(offline, NEAR)
    offline.run(301)
    offline.network.scripts[A] = by_subnet
    ask_from(offline, NEAR, run_s=0.1)
    offline.run(301)
    offline.network.scripts.pop(A)
    states = [ask_from(offline, client, run_s=5).query.metadata["cache/state"] for client in (NEAR, FAR)]
    assert states == ["stale", "miss"]


def test_a_subnet_is_kept_as_wide_as_the_upstream_says(offline: Offline) -> None:
    configured(offline, "[cache]\n", forward(A, ecs={"ipv4": 32}), A=lambda octets: by_subnet(octets, scope=25))
    states = [ask_from(offline, client).query.metadata["cache/state"] for client in (NEAR, SAME, FAR)]
    assert states == ["miss", "hit", "miss"]


def test_clients_with_a_subnet_of_their_own_get_its_answer_and_share_none(offline: Offline) -> None:
    configured(offline, "[cache]\n", forward(A, **SUBNETS), A=by_subnet)
    ask_from(offline, NEAR)
    own = dns_wire.query("www.example.org", options=[dns_wire.ecs("198.51.100.7", 32)])
    answers = []
    for _ in range(2):
        one = offline.start(own, client=NEAR)
        offline.run(0.1)
        answers.append((one.query.metadata["cache/state"], *addresses(one.answers[0])))
        assert dns_wire.options(one.answers[0]) == [dns_wire.ecs("198.51.100.7", 32, 24)]
    assert answers == [("miss", "198.51.100.99"), ("hit", "198.51.100.99")]
    assert ask_from(offline, NEAR).addresses == ["192.0.2.99"]
