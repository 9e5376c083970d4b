"""What plugin authors test with does what it says."""

from collections.abc import Awaitable

import dns.rcode
import pytest
import trio
import trio.testing

from dnsproxy.flight import Waiter
from dnsproxy.message import Query, Response
from dnsproxy.plugin import Plugin
from dnsproxy.testing import Canned, answer_of, make_query


class Refuser(Plugin):
    """Answers names under blocked.example.org; passes the others on, some after a nap."""

    def handle(self, query: Query) -> Awaitable[Response]:
        if query.name.endswith("blocked.example.org."):
            return query.respond(dns.rcode.NXDOMAIN)
        return self.slowly(query) if query.name.startswith("slow") else self.next(query)

    async def slowly(self, query: Query) -> Response:
        await query.run(trio.sleep, 60)
        return await self.next(query)


def refuser(*records: str) -> tuple[Refuser, Canned]:
    plugin, rest = Refuser([]), Canned(*records)
    plugin.next = rest
    return plugin, rest


def test_a_canned_rest_of_the_chain_answers_and_remembers() -> None:
    plugin, rest = refuser("300 IN A 192.0.2.1", "300 IN A 192.0.2.2")
    query = make_query("www.example.org.", client="2001:db8::7", protocol="TCP")
    response = answer_of(plugin.handle(query))
    assert [str(record) for record in response.message.answer[0]] == ["192.0.2.1", "192.0.2.2"]
    assert rest.queries == [query]
    assert (query.client.host, query.protocol) == ("2001:db8::7", "TCP")


def test_without_records_it_refuses_and_with_a_function_it_asks_that() -> None:
    assert answer_of(Canned()(make_query())).rcode == dns.rcode.REFUSED
    servfail = Canned(by=lambda query: query.respond(dns.rcode.SERVFAIL))
    assert answer_of(servfail(make_query(want_dnssec=True))).rcode == dns.rcode.SERVFAIL


def test_what_a_plugin_answers_itself_never_reaches_the_rest() -> None:
    plugin, rest = refuser()
    assert answer_of(plugin.handle(make_query("www.blocked.example.org."))).rcode == dns.rcode.NXDOMAIN
    assert rest.queries == []


def test_waiting_is_an_assertion_error_that_says_for_what() -> None:
    async def waits() -> Response:
        response: Response = await Waiter()
        return response

    with pytest.raises(AssertionError, match=r"waits for .*Waiter"):
        answer_of(waits())


def test_work_in_a_task_runs_in_a_trio_test() -> None:
    plugin, _ = refuser("300 IN A 192.0.2.1")

    async def ask() -> Response:
        return await plugin.handle(make_query("slow.example.org."))

    clock = trio.testing.MockClock(autojump_threshold=0)
    assert trio.run(ask, clock=clock).rcode == dns.rcode.NOERROR
