"""`trace`: a line for each client query, of files and of what comes now."""

import json
import signal
from collections.abc import Iterable
from pathlib import Path

import pytest

from dnsproxy.tap.frame import TapFrame
from tests.tap.commands.in_process import Captured, run
from tests.tap.dialogue import OTHER_UPSTREAM, Dialogue
from tests.tap.frames import CORPUS, write_stream
from tests.tap.running import Running, Sender, send
from tests.tap.test_paths import failing_over

PATH = "198.51.100.1:53 UDP timeout after 500 ms, 198.51.100.2:53 UDP NOERROR 19 ms, own 3 ms"


def recording(path: Path, frames: Iterable[TapFrame]) -> Path:
    return write_stream(path, (frame.payload for frame in frames))


def test_files_give_a_line_for_each_query(tmp_path: Path, capfd: Captured) -> None:
    path = recording(tmp_path / "dns.fstrm", [*failing_over(), Dialogue("b.test").asked(600)])
    done = run(capfd, "trace", "--utc", path)
    assert (done.status, done.err) == (0, "")
    assert done.lines == [
        f"22:13:20.000000 192.0.2.7 UDP www.example.org. A NOERROR 522 ms: {PATH}",
        "22:13:20.600000 192.0.2.7 UDP b.test. A open: no upstream yet",
    ]
    assert [each["qname"] for each in run(capfd, "trace", "--json", path).values] == ["www.example.org.", "b.test."]


def test_clients_and_upstreams_may_be_in_files_of_their_own(tmp_path: Path, capfd: Captured) -> None:
    frames = failing_over()
    clients = recording(tmp_path / "clients.fstrm", (frame for frame in frames if frame.is_of_client))
    upstreams = recording(tmp_path / "upstreams.fstrm", (frame for frame in frames if not frame.is_of_client))
    (line,) = run(capfd, "trace", "--utc", upstreams, clients).lines
    assert line.endswith(PATH)


def test_filters_choose_queries_as_a_whole(tmp_path: Path, capfd: Captured) -> None:
    frames = [*failing_over(), *Dialogue("b.test", port=9).whole(600, 20, rcode="SERVFAIL")]
    path = recording(tmp_path / "dns.fstrm", frames)

    def names(*options: str) -> list[tuple[str, int]]:
        return [(each["qname"], len(each["attempts"])) for each in run(capfd, "trace", "--json", path, *options).values]

    assert names("--only", "errors") == [("b.test.", 1)]
    assert names("--slower-than", "500ms") == [("www.example.org.", 2)]
    assert names("--client", "192.0.2.7", "--zone", "example.org") == [("www.example.org.", 2)]
    assert names("--rcode", "!NOERROR") == [("b.test.", 1)]


def test_masks_apply(tmp_path: Path, capfd: Captured) -> None:
    path = recording(tmp_path / "dns.fstrm", failing_over())
    (values,) = run(capfd, "trace", "--json", path, "--mask", "24/56").values
    assert (values["client"], len(values["attempts"])) == ("192.0.2.0", 2)


def test_the_wait_is_by_the_messages_times(tmp_path: Path, capfd: Captured) -> None:
    open_one, late = Dialogue("open.test"), Dialogue("late.test", port=2)
    frames = [open_one.asked(0), *late.whole(1500, 10), open_one.answered(2500)]
    path = recording(tmp_path / "dns.fstrm", frames)
    assert len(run(capfd, "trace", path, "--wait", "3s").lines) == 2
    lines = run(capfd, "trace", path, "--wait", "1s").lines
    assert [line.split()[5] for line in lines] == ["open:", "NOERROR", "NOERROR"]


def test_damage_gives_1(capfd: Captured) -> None:
    done = run(capfd, "trace", CORPUS / "trunc.fstrm")
    assert done.status == 1
    assert "truncated" in done.err


@pytest.mark.parametrize("arguments", [[], ["-u", "/tmp/x.sock", "x.fstrm"], ["--wait", "soon", "x"]])
def test_wrong_usage_is_one_line(arguments: list[str], capfd: Captured) -> None:
    done = run(capfd, "trace", *arguments)
    assert (done.status, done.out, done.err.count("\n")) == (2, "", 1)


def test_sources_are_joined_as_they_come(tmp_path: Path) -> None:
    one = Dialogue(extra=b"00000000000000aa")
    clients, upstreams = tmp_path / "clients.sock", tmp_path / "upstreams.sock"
    with Running("trace", "--utc", "-u", clients, "-u", upstreams) as command:
        frames = [one.sent(1), one.sent(501, OTHER_UPSTREAM), one.came(501, 520, OTHER_UPSTREAM)]
        send(upstreams, [frame.payload for frame in frames])
        send(clients, [one.asked(0).payload, one.answered(522).payload])
        (line,) = command.wait_for_lines(1)
        assert line.endswith(PATH)
        assert command.end(signal.SIGINT) == 128 + signal.SIGINT


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2])
def test_every_signal_ends_it(number: signal.Signals, tmp_path: Path) -> None:
    with Running("trace", "-u", tmp_path / "tap.sock") as command:
        assert command.end(number) == 128 + number


def test_an_open_query_comes_after_the_wait_though_nothing_else_does(tmp_path: Path) -> None:
    path = tmp_path / "tap.sock"
    with Running("trace", "--json", "-u", path, "--wait", "200ms") as command, Sender(path) as sender:
        sender.send(Dialogue("open.test").asked(0).payload)
        (line,) = command.wait_for_lines(1)
        assert json.loads(line)["rcode"] is None
        sender.send(Dialogue("late.test").asked(1).payload)
        assert command.end(signal.SIGTERM) == 128 + signal.SIGTERM
        assert len(command.lines) == 2, "what is open at the end is printed too"
