"""How plugins are linked, who watches, which chain serves a name, and who is to blame."""

import logging
from collections.abc import Awaitable
from typing import Any

import pytest

from dnsproxy.chain import DEADLINE_GRACE_S, DEADLINE_S, Router, end_of_chain
from dnsproxy.message import Query, Response
from dnsproxy.plugin import Observer, Plugin
from dnsproxy.testing import answer_of, make_query
from dnsproxy.wire import name_from_text
from tests.support.offline import chain_of

REFUSED = 5


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
    first, answering = chain.plugins[1], chain.plugins[4]
    assert chain.handler == first.handle
    assert first.next == answering.handle
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
    assert chain.observer_errors == 9
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


def test_nonsense_is_blamed_on_the_plugin_whose_coroutine_gave_it() -> None:
    chain = chain_of(First, Waiting)
    coroutine: Any = chain.plugins[1].handle(make_query())
    assert chain.culprit(None, coroutine) == "waiting"
    coroutine.close()
    assert chain.culprit(None, 7) == "first or waiting", "when nothing says more"
    assert chain.culprit(ValueError()) == "first or waiting"
    assert chain_of(Observer, First, Idle).culprit(None, 7) == "first"
    assert chain_of().culprit(ValueError()) == "unknown"


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
