"""The admin socket: who may use it, who may not harm it."""

import json
import os
import socket
import stat
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from dnsproxy import admin
from dnsproxy.admin import AdminError, serve
from dnsproxy.admin_client import NoAnswer, ask

STATUS: dict[str, Any] = {"version": "0.1.0", "text": "é" * 100_000}
ASKING = b'{"command": "status"}\n'


@asynccontextmanager
async def serving(path: Path, snapshot: admin.Snapshot = lambda: STATUS, **options: Any) -> AsyncIterator[None]:
    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            await nursery.start(partial(serve, **options), str(path), snapshot)
            yield
            nursery.cancel_scope.cancel()


async def ask_in_a_thread(path: Path) -> dict[str, Any]:
    return await trio.to_thread.run_sync(ask, [str(path)])


def test_a_client_gets_the_snapshot(tmp_path: Path) -> None:
    async def main() -> None:
        async with serving(tmp_path / "s"):
            assert await ask_in_a_thread(tmp_path / "s") == STATUS

    trio.run(main)


def test_the_socket_is_its_owners_alone_and_is_removed_at_the_end(tmp_path: Path) -> None:
    async def main() -> None:
        async with serving(tmp_path / "s"):
            assert stat.S_IMODE((tmp_path / "s").stat().st_mode) == 0o600
        assert not (tmp_path / "s").exists()

    trio.run(main)


def leave_a_socket_behind(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))


def test_a_socket_that_a_dead_process_left_is_replaced(tmp_path: Path) -> None:
    leave_a_socket_behind(tmp_path / "s")

    async def main() -> None:
        async with serving(tmp_path / "s"):
            assert await ask_in_a_thread(tmp_path / "s") == STATUS

    trio.run(main)


def test_a_socket_on_which_somebody_answers_is_left_alone(tmp_path: Path) -> None:
    async def main() -> None:
        async with serving(tmp_path / "s"):
            with pytest.raises(AdminError, match="s: another process listens on it"):
                await serve(str(tmp_path / "s"), lambda: STATUS)
            assert await ask_in_a_thread(tmp_path / "s") == STATUS

    trio.run(main)


def test_what_is_not_a_socket_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "s").write_text("precious")
    with pytest.raises(AdminError, match="exists and is not a socket"):
        trio.run(serve, str(tmp_path / "s"), lambda: STATUS)
    assert (tmp_path / "s").read_text() == "precious"


def test_a_symbolic_link_is_not_followed(tmp_path: Path) -> None:
    leave_a_socket_behind(tmp_path / "target")
    (tmp_path / "s").symlink_to(tmp_path / "target")
    with pytest.raises(AdminError, match="exists and is not a socket"):
        trio.run(serve, str(tmp_path / "s"), lambda: STATUS)


def test_another_socket_that_took_the_place_is_not_removed(tmp_path: Path) -> None:
    async def main() -> None:
        async with serving(tmp_path / "s"):
            (tmp_path / "s").rename(tmp_path / "old")
            leave_a_socket_behind(tmp_path / "s")
        assert (tmp_path / "s").exists()

    trio.run(main)


def test_a_missing_folder_is_an_error_where_the_socket_was_asked_for(tmp_path: Path) -> None:
    with pytest.raises(AdminError, match="No such file or directory"):
        trio.run(serve, str(tmp_path / "no" / "s"), lambda: STATUS)


def test_a_default_socket_has_its_folder_made(tmp_path: Path) -> None:
    async def main() -> None:
        async with serving(tmp_path / "run" / "s", required=False):
            assert stat.S_IMODE((tmp_path / "run").stat().st_mode) == 0o700

    trio.run(main)


def test_a_default_socket_that_cannot_be_had_is_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("")

    async def main() -> None:
        async with serving(tmp_path / "file" / "s", required=False):
            pass

    trio.run(main)
    assert "File exists; going on without it" in caplog.text


Client = Callable[[trio.abc.Stream], Awaitable[bytes]]


def talk(client: Client) -> bytes:
    """What a client gets, through memory and on a clock that jumps."""

    async def main() -> bytes:
        ours, theirs = trio.testing.memory_stream_pair()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(admin._Connections(lambda: {"here": 1}).handle, ours)
            return await client(theirs)

    return trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


async def read_all(stream: trio.abc.Stream) -> bytes:
    return b"".join([part async for part in stream])


@pytest.mark.parametrize(
    ("request_octets", "word"),
    [
        (ASKING, b"here"),
        (b"nonsense\n", b"error"),
        (b"[" * 4000 + b"\n", b"error"),
        (b"[1]\n", b"error"),
        (b'{"command": "stop"}\n', b"error"),
        (b"\xff\xfe\n", b"error"),
        (b"\n", b"error"),
        (b"x" * 100_000, b"error"),
    ],
)
def test_every_request_gets_one_line_of_json(request_octets: bytes, word: bytes) -> None:
    async def client(stream: trio.abc.Stream) -> bytes:
        await stream.send_all(request_octets)
        return await read_all(stream)

    answer = talk(client)
    assert answer.count(b"\n") == 1
    assert word in json.dumps(json.loads(answer)).encode()


def test_a_request_may_come_octet_by_octet_and_end_with_the_stream() -> None:
    async def client(stream: trio.abc.Stream) -> bytes:
        for octet in ASKING[:-1]:
            await stream.send_all(bytes((octet,)))
        assert isinstance(stream, trio.StapledStream)
        await stream.send_eof()
        return await read_all(stream)

    assert json.loads(talk(client)) == {"here": 1}


def test_a_client_that_says_nothing_is_closed_after_a_while() -> None:
    assert talk(read_all) == b""


def test_a_client_that_goes_away_harms_nobody() -> None:
    async def client(stream: trio.abc.Stream) -> bytes:
        await stream.send_all(ASKING[:5])
        await trio.aclose_forcefully(stream)
        return b""

    assert talk(client) == b""


def test_a_crowd_that_hangs_does_not_keep_others_from_their_answer(tmp_path: Path) -> None:
    async def main() -> None:
        async with serving(tmp_path / "s"):
            crowd = [await trio.open_unix_socket(tmp_path / "s") for _ in range(3 * admin.MAX_CONNECTIONS)]
            assert await ask_in_a_thread(tmp_path / "s") == STATUS
            for stream in crowd:
                await trio.aclose_forcefully(stream)

    trio.run(main)


def test_the_client_looks_in_each_place_and_says_why_none_answers(tmp_path: Path) -> None:
    leave_a_socket_behind(tmp_path / "dead")
    with pytest.raises(NoAnswer) as caught:
        ask([str(tmp_path / "none"), str(tmp_path / "dead")])
    reasons = f"{tmp_path}/none: No such file or directory; {tmp_path}/dead: Connection refused"
    assert str(caught.value) == f"no running proxy answers ({reasons})"


def test_the_client_takes_the_first_proxy_that_answers(tmp_path: Path) -> None:
    async def main() -> None:
        async with serving(tmp_path / "s"):
            places = [str(tmp_path / "none"), str(tmp_path / "s")]
            assert await trio.to_thread.run_sync(ask, places) == STATUS

    trio.run(main)


def test_the_client_gives_up_on_what_is_no_proxy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dnsproxy.admin_client.ANSWER_S", 0.05)

    async def other(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        await stream.send_all(b"220 hello\r\n")

    async def main() -> None:
        listening = admin.open_listener(str(tmp_path / "s"))
        async with trio.open_nursery() as nursery:
            listeners = [trio.SocketListener(trio.socket.from_stdlib_socket(listening))]
            await nursery.start(trio.serve_listeners, other, listeners)
            with pytest.raises(NoAnswer, match="what answers is no dnsproxy"):
                await ask_in_a_thread(tmp_path / "s")
            nursery.cancel_scope.cancel()

    trio.run(main)


def test_the_client_does_not_wait_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dnsproxy.admin_client.ANSWER_S", 0.05)
    with admin.open_listener(str(tmp_path / "s")), pytest.raises(NoAnswer, match=r"no answer within 0.05 s"):
        ask([str(tmp_path / "s")])


def test_a_plugin_whose_counters_fail_does_not_end_the_proxy(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async with serving(tmp_path / "s", lambda: dict(STATUS["missing"])):
            for _ in range(2):
                with pytest.raises(NoAnswer, match="the status cannot be taken"):
                    await ask_in_a_thread(tmp_path / "s")

    trio.run(main)
    assert "KeyError" in caplog.text


def test_the_umask_of_the_process_is_as_before(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        admin.open_listener(str(tmp_path / "s")).close()
        assert os.umask(0o022) == 0o022
    finally:
        os.umask(before)
