"""The supervisor's loop: sockets, timers and signals, one call at a time."""

import os
import signal
import socket
from collections.abc import Iterator

import pytest

from dnsproxy.workers.loop import WRITE, Loop


@pytest.fixture
def loop() -> Iterator[Loop]:
    loop = Loop()
    yield loop
    loop.close()


def test_timers_fire_in_order_and_not_when_cancelled(loop: Loop) -> None:
    fired = list[str]()
    loop.later(0.02, lambda: fired.append("second"))
    loop.later(0.01, lambda: fired.append("first"))
    loop.later(0.015, lambda: fired.append("never")).cancel()
    loop.later(0.03, loop.stop)
    loop.run()
    assert fired == ["first", "second"]


def test_a_socket_calls_back_when_it_is_readable_and_when_it_is_writable(loop: Loop) -> None:
    ours, theirs = socket.socketpair()
    calls = list[object]()

    def on_event(mask: int) -> None:
        calls.append("writable" if mask & WRITE else ours.recv(10))
        loop.events(ours, WRITE)
        if len(calls) == 2:
            loop.stop()

    with ours, theirs:
        theirs.send(b"hello")
        loop.watch(ours, on_event)
        loop.run()
        loop.forget(ours)
        loop.forget(ours)
    assert calls == [b"hello", "writable"]


def test_what_is_forgotten_by_a_call_is_not_called_in_the_same_round(loop: Loop) -> None:
    pairs = [socket.socketpair() for _ in range(2)]
    called = list[socket.socket]()

    def on_event(chosen: socket.socket) -> None:
        called.append(chosen)
        for ours, _ in pairs:
            loop.forget(ours)
        loop.stop()

    for ours, theirs in pairs:
        loop.watch(ours, lambda _mask, ours=ours: on_event(ours))  # type: ignore[misc]
        theirs.send(b"x")
    loop.run()
    assert len(called) == 1
    for pair in pairs:
        for end in pair:
            end.close()


def test_signals_arrive_as_calls_and_the_old_handlers_return(loop: Loop) -> None:
    before = signal.getsignal(signal.SIGHUP)
    heard = list[int]()

    def on_signal(number: int) -> None:
        heard.append(number)
        loop.stop()

    with loop.signals([signal.SIGHUP], on_signal):
        loop.later(0, lambda: os.kill(os.getpid(), signal.SIGHUP))
        loop.run()
    assert heard == [signal.SIGHUP]
    assert signal.getsignal(signal.SIGHUP) == before
