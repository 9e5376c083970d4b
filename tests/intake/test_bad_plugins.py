"""What bad plugins and observers cannot do: a client gets SERVFAIL, and the log names them."""

from asyncio import CancelledError
from functools import partial
from typing import Any

import pytest

from dnsproxy.errors import (
    EDE_BLOCKED,
    EDE_NO_REACHABLE_AUTHORITY,
    EDE_OTHER,
    EDE_PROHIBITED,
    DeadlineExceeded,
    QueryError,
    Refused,
    ServerFailure,
)
from dnsproxy.flight import Waiter
from dnsproxy.intake import FAILURES_LOGGED_PER_S
from dnsproxy.message import Policy, Query, Response
from dnsproxy.testing import make_query
from tests.intake.world import NOERROR, REFUSED, SERVFAIL, STRANGER, Behaviour, Waits, World
from tests.support.offline import query


@pytest.mark.parametrize(
    "behave",
    [
        lambda query: None,
        lambda query: 7,
        lambda query: Waiter(),
        lambda query: b"wire",
        lambda query: (yield),
        lambda query: Response,
    ],
)
def test_nonsense_is_servfail_and_the_log_names_the_plugin(
    behave: Behaviour, world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.behaves(behave)
    asked = world.ask(use_edns=0)
    assert (asked.rcode, asked.ede) == (SERVFAIL, EDE_OTHER)
    (message,) = caplog.messages
    assert "plugin behaving gave" in message
    assert world.intake.failures == 1


def test_a_coroutine_that_returns_nonsense_is_servfail_too(world: World, caplog: pytest.LogCaptureFixture) -> None:
    async def nonsense(query: Query) -> Any:
        return "nonsense"

    world.behaves(nonsense)
    assert world.ask().rcode == SERVFAIL
    assert "plugin behaving gave 'nonsense'" in caplog.text


@pytest.mark.parametrize("error", [ValueError, SystemExit, KeyboardInterrupt, CancelledError, GeneratorExit])
@pytest.mark.parametrize("how", ["at once", "in a coroutine", "later"])
def test_whatever_a_plugin_raises_is_servfail_and_the_log_names_it(
    error: type[BaseException], how: str, world: World, caplog: pytest.LogCaptureFixture
) -> None:
    def raises(query: Query) -> Response:
        raise error

    async def raises_in_a_coroutine(query: Query) -> Response:
        if how == "later":
            await waits(query)
        return raises(query)

    waits = Waits()
    world.behaves(raises if how == "at once" else raises_in_a_coroutine)
    asked = world.ask(use_edns=0)
    waits.finish()
    world.run(0)
    assert (asked.rcode, asked.ede) == (SERVFAIL, EDE_OTHER)
    assert "plugin behaving failed on www.example.org.:" in caplog.text


@pytest.mark.parametrize("behave", [lambda query: None, lambda query: query.nothing])
def test_a_plugin_that_always_fails_does_not_fill_the_log(
    behave: Behaviour, world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.behaves(behave)
    for number in range(500):
        assert world.ask(f"{number}.example.org", run_s=0.01).rcode == SERVFAIL
    assert world.intake.failures == 500
    assert len(caplog.messages) <= FAILURES_LOGGED_PER_S * 6


@pytest.mark.parametrize("wire", [None, "x" * 40, 7, b"", b"\x12\x34\x81\x80", b"\0" * 11, [1, 2]])
def test_a_response_that_is_no_message_is_servfail(wire: Any, world: World) -> None:
    world.behaves(lambda query: Response(wire))
    assert world.ask().rcode == SERVFAIL


def test_a_response_to_another_question_is_servfail_and_the_log_names_the_plugin(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.behaves(lambda _: Response(make_query("ww2.example.org").respond().wire))
    assert world.ask().rcode == SERVFAIL
    assert 'plugin behaving failed on www.example.org.: ValueError("a response to another question' in caplog.text


def _with_reason(reason: Any, query: Query) -> Response:
    return Response(query.respond().wire, reason)


def test_a_reason_that_is_none_is_servfail_and_the_log_names_the_plugin(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    reasons: list[Any] = ["because", 7]
    for reason in reasons:
        world.behaves(partial(_with_reason, reason))
        assert world.ask().rcode == SERVFAIL
        assert world.watching.responses[-1].policy is None
    assert caplog.text.count("plugin behaving failed on") == 2


@pytest.mark.parametrize("protocol", ["UDP", "TCP"])
def test_a_response_longer_than_a_message_may_be_never_leaves(protocol: str, world: World) -> None:
    world.behaves(lambda query: Response(query.respond().wire + b"\0" * 65_536))
    asked = world.ask(protocol=protocol)
    assert asked.rcode == (SERVFAIL if protocol == "TCP" else NOERROR)
    assert len(asked.answers[0]) <= 512


def test_taps_are_told_why_an_answer_is_not_the_upstreams(world: World) -> None:
    def refuses(query: Query) -> Response:
        raise Refused("not today", policy=Policy(type="hours", rule=b"\xffsunday"))

    world.behaves(refuses)
    assert world.ask().rcode == REFUSED
    world.start(query(), client=STRANGER)
    policies = [response.policy for response in world.watching.responses]
    assert [(policy.type, policy.rule) for policy in policies if policy] == [
        ("hours", b"\xffsunday"),
        ("allow", b"allow"),
    ]
    rules = [query.metadata["policy/rule"] for query in world.watching.queries]
    assert rules == ["\\xffsunday", "allow"]
    world.behaves(lambda query: query.respond())
    assert world.ask().rcode == NOERROR
    assert "policy/rule" not in world.watching.queries[-1].metadata


def test_an_error_that_knows_its_answer_is_no_failure(world: World, caplog: pytest.LogCaptureFixture) -> None:
    def refuses(query: Query) -> Response:
        raise Refused("not here", ede_code=EDE_PROHIBITED)

    def strange(query: Query) -> Response:
        raise QueryError("bad cookie", rcode=23)

    world.behaves(refuses)
    asked = world.ask(use_edns=0)
    assert (asked.rcode, asked.ede) == (REFUSED, EDE_PROHIBITED)
    world.behaves(strange)
    assert world.ask(use_edns=0).rcode == 23
    assert world.ask().rcode == SERVFAIL, "an extended rcode cannot be told without EDNS"
    assert (caplog.messages, world.intake.failures) == ([], 0)


@pytest.mark.parametrize("given", [{"rcode": "NXDOMAIN"}, {"rcode": 70_000}, {"ede_code": 70_000}, {"ede_code": "x"}])
def test_an_error_that_no_answer_can_carry_is_servfail_and_the_log_names_the_plugin(
    given: dict[str, Any], world: World, caplog: pytest.LogCaptureFixture
) -> None:
    def raises(query: Query) -> Response:
        raise QueryError("no such thing", **given)

    world.behaves(raises)
    asked = world.ask(use_edns=0)
    assert (asked.rcode, asked.ede) == (SERVFAIL, EDE_OTHER)
    assert "plugin behaving failed on www.example.org.: QueryError('no such thing')" in caplog.text


def test_an_error_that_cannot_be_shown_is_named_all_the_same(world: World, caplog: pytest.LogCaptureFixture) -> None:
    class MuteError(RuntimeError):
        def __repr__(self) -> str:
            raise ValueError

        __str__ = __repr__

    def raises(query: Query) -> Response:
        raise MuteError

    world.behaves(raises)
    assert world.ask().rcode == SERVFAIL
    assert "plugin behaving failed on www.example.org.: <MuteError without a repr>" in caplog.text


@pytest.mark.parametrize(
    ("error", "ede", "text"),
    [
        (Refused("not today"), EDE_OTHER, "not today"),
        (ServerFailure(ValueError("no disk")), EDE_OTHER, "no disk"),
        (ServerFailure(), EDE_OTHER, ""),
        (DeadlineExceeded("too slow"), EDE_NO_REACHABLE_AUTHORITY, "too slow"),
        (QueryError("blocked", ede_code=EDE_BLOCKED), EDE_BLOCKED, "blocked"),
        (Refused(), None, None),
    ],
)
def test_the_text_of_an_error_reaches_the_client(
    error: QueryError, ede: int | None, text: str | None, world: World
) -> None:
    def raises(query: Query) -> Response:
        raise error

    world.behaves(raises)
    options = {int(option.code): option.text or "" for option in world.ask(use_edns=0).answer.options}
    assert options == ({} if ede is None else {ede: text})


def test_a_plugin_that_never_answers_is_servfail_at_the_deadline_and_named_once(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.behaves(Waits())
    asked = [world.start(query(f"{number}.example.org", use_edns=0)) for number in range(3)]
    world.run(10)
    for one in asked:
        assert (one.rcode, one.ede) == (SERVFAIL, EDE_NO_REACHABLE_AUTHORITY)
        assert one.at == pytest.approx(4.55)
    assert len(caplog.messages) == 1
    assert "plugin behaving gave no answer" in caplog.text


@pytest.mark.parametrize("error", [ValueError, SystemExit])
def test_an_observer_that_raises_changes_nothing_and_is_logged_once(
    error: type[BaseException], world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.watching.error = error
    for _ in range(3):
        assert world.ask().rcode == NOERROR
    assert world.start(query(qtype="AXFR")).rcode == REFUSED
    assert world.start(query(), client=STRANGER).rcode == REFUSED
    assert len(caplog.messages) == 2, "once for queries, once for responses"
    assert all("plugin watching failed while watching" in message for message in caplog.messages)
