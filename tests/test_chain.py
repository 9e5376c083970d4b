"""How plugins are linked, who watches, which chain serves a name, and who is to blame."""

import logging
from collections.abc import Awaitable
from typing import Any

import pytest

from dnsproxy import COMPILED
from dnsproxy.address import Address
from dnsproxy.chain import DEADLINE_GRACE_S, DEADLINE_S, Router, end_of_chain
from dnsproxy.dnstap.events import Event, Route
from dnsproxy.dnstap.schema import MessageType
from dnsproxy.links import NonsenseError
from dnsproxy.message import Query, Response
from dnsproxy.plugin import Observer, Plugin, Tap
from dnsproxy.testing import answer_of, make_query
from dnsproxy.wire import name_from_text
from tests.support.offline import chain_of

REFUSED = 5
EVENT = Event.of(
    MessageType.TOOL_QUERY, Route.of("UDP", Address.of("192.0.2.1", 53), Address.of("192.0.2.2", 53)), b"", query_ns=1
)


class Passing(Plugin):
    """Leaves a trace and passes on."""

    def handle(self, query: Query) -> Awaitable[Response]:
        trace = query.metadata.setdefault("test/trace", [])
        assert isinstance(trace, list)
        trace.append(self.name)
        return self.next(query)


class First(Passing):
    pass


class Second(Passing):
    deadline_s = 9.0


class Answering(Plugin):
    deadline_s = 3.0

    def handle(self, query: Query) -> Awaitable[Response]:
        return query.respond()


class Raising(Plugin):
    def handle(self, query: Query) -> Awaitable[Response]:
        return self.helper()

    def helper(self) -> Awaitable[Response]:
        raise ValueError


class Waiting(Plugin):
    async def handle(self, query: Query) -> Response:
        return await self.next(query)


class Idle(Plugin):
    """Has no `handle` of its own."""


class QueryWatcher(Observer):
    def on_query(self, query: Query) -> None:
        raise ValueError


class ResponseWatcher(Observer):
    def on_response(self, query: Query, response: Response) -> None:
        return


class Both(QueryWatcher):
    def on_response(self, query: Query, response: Response) -> None:
        return


# links


def test_queries_pass_the_plugins_in_order_until_one_answers() -> None:
    chain = chain_of(First, Idle, Second, Answering, Passing)
    query = make_query()
    assert answer_of(chain.handler(query)).rcode == 0
    assert query.metadata["test/trace"] == ["first", "second"]
    assert repr(chain) == "<Chain first -> idle -> second -> answering -> passing>"


def test_plugins_that_only_pass_on_cost_nothing() -> None:
    chain = chain_of(Idle, First, Idle, QueryWatcher, Answering)
    first = chain.plugins[1]
    assert chain.handler == first.handle
    assert answer_of(first.next(make_query())).rcode == 0
    assert chain.plugins[2].next == first.next, "which is the answering one's"
    assert chain.plugins[0].next == first.handle, "each has the rest of the chain behind it"


def test_the_end_of_the_chain_refuses() -> None:
    assert chain_of().handler is end_of_chain
    assert answer_of(chain_of(First).handler(make_query())).rcode == REFUSED


def test_plugins_have_the_names_of_the_file() -> None:
    assert [plugin.name for plugin in chain_of(First, Second).plugins] == ["first", "second"]


@pytest.mark.parametrize(
    ("plugins", "deadline_s"),
    [([], DEADLINE_S), ([First], DEADLINE_S), ([Answering], 3.0), ([Second, Answering], 9.0)],
)
def test_the_chain_waits_as_long_as_its_most_patient_plugin(plugins: list[type[Plugin]], deadline_s: float) -> None:
    assert chain_of(*plugins).deadline_s == deadline_s + DEADLINE_GRACE_S


# observers


def test_observers_are_asked_only_for_what_they_watch() -> None:
    chain = chain_of(QueryWatcher, ResponseWatcher, Both, Observer, First)
    queries, responses, both, _, _ = chain.plugins
    assert [function.__self__ for function in chain.on_query] == [queries, both]  # type: ignore[attr-defined]
    assert [function.__self__ for function in chain.on_response] == [responses, both]  # type: ignore[attr-defined]


def test_an_observers_errors_are_counted_and_each_function_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    chain = chain_of(QueryWatcher, Both)
    for _ in range(3):
        for function in [*chain.on_query, *chain.on_response]:
            chain.isolate(function, ValueError("no"))
    assert chain.observer_failures.count == 9
    assert [message.split(":")[0] for message in caplog.messages] == [
        "plugin querywatcher failed while watching (logged once)",
        "plugin both failed while watching (logged once)",
        "plugin both failed while watching (logged once)",
    ]
    assert {record.levelno for record in caplog.records} == {logging.ERROR}


# blame


def raised_by(awaitable: Any) -> BaseException:
    try:
        awaitable()
    except ValueError as exc:
        return exc
    raise AssertionError


def test_an_error_is_blamed_on_the_innermost_plugin_it_came_through() -> None:
    chain = chain_of(First, Raising, Answering)
    assert chain.culprit(raised_by(lambda: chain.handler(make_query()))) == "raising"


def test_nonsense_is_blamed_on_the_first_plugin_for_those_behind_it_are_looked_at() -> None:
    chain = chain_of(Observer, First, Waiting)
    assert chain.culprit(None) == "first"
    assert chain.culprit(ValueError()) == "first or waiting", "when nothing says more"
    assert chain_of().culprit(None) == chain_of().culprit(ValueError()) == "unknown"


def at_once(query: Query) -> Any:
    return None


async def later(query: Query) -> Any:
    return None


def of_text(query: Query) -> Any:
    return Response("x" * 40)  # type: ignore[arg-type]


def too_short(query: Query) -> Any:
    return Response(b"x")


@pytest.mark.parametrize("behave", [at_once, later, of_text, too_short])
@pytest.mark.parametrize("before", [First, Waiting])
def test_nonsense_behind_a_plugin_is_blamed_on_who_gave_it(before: type[Plugin], behave: Any) -> None:
    class Nonsensical(Plugin):
        def handle(self, query: Query) -> Awaitable[Response]:
            answer: Awaitable[Response] = behave(query)
            return answer

    chain = chain_of(before, Idle, Nonsensical, Answering)
    takes_only_octets = COMPILED and behave is of_text  # such a Response cannot even be made
    with pytest.raises(TypeError if takes_only_octets else NonsenseError) as caught:
        answer_of(chain.handler(make_query()))
    assert chain.culprit(caught.value) == "nonsensical"


def test_what_is_looked_at_comes_through() -> None:
    chain = chain_of(Waiting, Waiting, First, Answering)
    assert answer_of(chain.handler(make_query())).rcode == 0


def test_plugins_that_are_trusted_are_linked_as_they_are() -> None:
    class Trusted(Answering):
        is_trusted = True

    chain = chain_of(First, Trusted)
    assert chain.plugins[0].next == chain.plugins[1].handle


def test_an_error_in_a_function_is_blamed_on_the_plugin_of_its_package() -> None:
    space: dict[str, Any] = {"__name__": "dnsproxy_other.helpers"}
    exec("async def fails_later(query): raise KeyError", space)

    class Other(Plugin):
        def handle(self, query: Query) -> Awaitable[Response]:
            answer: Awaitable[Response] = space["fails_later"](query)
            return answer

    Other.__module__ = "dnsproxy_other"
    for plugins in ((Waiting, Other), (Other, Waiting)):
        chain = chain_of(*plugins)
        with pytest.raises(KeyError) as caught:
            answer_of(chain.handler(make_query()))
        assert chain.culprit(caught.value) == "other"


def test_an_error_in_a_function_behind_another_plugin_is_blamed_on_who_called_it() -> None:
    async def fails(query: Query) -> Response:
        raise KeyError

    class Calling(Plugin):
        def handle(self, query: Query) -> Awaitable[Response]:
            return fails(query)

    chain = chain_of(Waiting, Calling, Answering)
    with pytest.raises(KeyError) as caught:
        answer_of(chain.handler(make_query()))
    assert chain.culprit(caught.value) == "calling"


# taps


class BadTap(Plugin, Tap):
    def forwarder_query(self, event: Event) -> None:
        raise ValueError

    def emit(self, event: Event) -> None:
        raise SystemExit


def test_whoever_tells_a_tap_does_not_suffer_from_it(caplog: pytest.LogCaptureFixture) -> None:
    chain = chain_of(BadTap)
    (tap,) = chain.plugins
    assert isinstance(tap, BadTap)
    for _ in range(3):
        for hook in (tap.forwarder_query, tap.forwarder_response, tap.emit):
            hook(EVENT)
    assert chain.observer_failures.count == 6
    assert [message.split(":")[0] for message in caplog.messages] == [
        "plugin badtap failed while watching (logged once)"
    ] * 2


def test_nor_from_one_that_puts_another_function_in_its_place_when_it_is_bound() -> None:
    def fails(event: Event) -> None:
        raise KeyError

    chain = chain_of(BadTap)
    (tap,) = chain.plugins
    assert isinstance(tap, BadTap)
    tap.forwarder_response = fails  # type: ignore[method-assign]
    for _ in range(2):
        chain.watch()
    for hook in (tap.forwarder_query, tap.forwarder_response, tap.emit):
        hook(EVENT)
    assert chain.observer_failures.count == 3, "each is counted once, however often the chain has looked"


# routers


def zones(*names: str) -> tuple[bytes, ...]:
    return tuple(name_from_text(name) for name in names)


def test_the_most_specific_zone_wins_by_whole_labels() -> None:
    root, example, deep = (chain_of(zones=zones(*names)) for names in ((".",), ("example.org", "net"), ("a.b.net",)))
    router = Router([example, root, deep])
    expected = {
        "example.org": example,
        "www.EXAMPLE.org": example,
        "notexample.org": root,
        "org": root,
        ".": root,
        "a.b.net": deep,
        "x.a.b.net": deep,
        "b.net": example,
        r"a\.b.net": example,
    }
    assert {name: router.route(make_query(name)) for name in expected} == expected
    assert router.only is None


def test_names_that_nobody_serves_are_refused_and_watched_all_the_same() -> None:
    chain = chain_of(ResponseWatcher, Answering, zones=zones("example.org"))
    router = Router([chain])
    nobody = router.route(make_query("example.net"))
    assert nobody is not chain
    assert answer_of(nobody.handler(make_query("example.net"))).rcode == REFUSED
    assert answer_of(chain.handler(make_query("example.org"))).rcode == 0
    assert nobody.on_response == chain.on_response
    assert nobody.deadline_s == chain.deadline_s


def test_a_query_without_a_readable_name_goes_to_the_least_specific_zone() -> None:
    example, net = (chain_of(zones=zones(name)) for name in ("www.example.org", "net"))
    query = make_query()
    query.shape = type(query.shape)(b"\0" * 12)
    assert Router([example, net]).route(query) is net


def test_a_chain_alone_for_all_names_needs_no_routing() -> None:
    chain = chain_of()
    assert Router([chain]).only is chain
    assert Router([chain_of(zones=zones("example.org"))]).only is None
    assert Router([chain, chain_of(zones=zones("example.org"))]).only is None
