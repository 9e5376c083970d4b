"""A session with a collector, and the message that it can be told by."""

import time
from pathlib import Path

import pytest
import trio

from dnsproxy.dnstap.destination import Destination, TlsOptions
from dnsproxy.tap.errors import Failure
from dnsproxy.tap.frame import TapFrame
from dnsproxy.tap.probing import Probe, converse
from tests.dnstap.receiver import Receiver


def test_a_probe_is_a_query_for_a_name_that_no_other_has() -> None:
    one, other = Probe(), Probe()
    frame = TapFrame(one.payload())
    assert (frame.type_name, frame.name, frame.malformed) == ("TOOL_QUERY", one.name, None)
    assert frame.time_ns == pytest.approx(time.time_ns(), abs=10**9)
    assert one.label in frame.payload
    assert other.label not in frame.payload


@pytest.mark.parametrize("with_probe", [False, True])
def test_a_session_is_whole_with_and_without_a_probe(with_probe: bool, tmp_path: Path) -> None:
    probe = Probe() if with_probe else None

    async def main() -> Receiver:
        receiver = Receiver(Destination("unix", path=str(tmp_path / "tap.sock")))
        async with receiver.listening():
            assert await converse(receiver.destination, TlsOptions(), 5.0, probe) < 5.0
        return receiver

    receiver = trio.run(main)
    assert (receiver.connections, receiver.stops, receiver.broken) == (1, 1, [])
    assert [TapFrame(frame).name for frame in receiver.frames] == ([probe.name] if probe else [])


def test_what_the_other_side_did_not_do_is_told(tmp_path: Path) -> None:
    async def main() -> None:
        receiver = Receiver(Destination("unix", path=str(tmp_path / "tap.sock")))
        receiver.silent = True
        async with receiver.listening():
            with pytest.raises(Failure, match=r"tap\.sock: no ACCEPT within 0\.1 s$"):
                await converse(receiver.destination, TlsOptions(), 0.1)

    trio.run(main)


def test_a_host_that_nobody_knows_is_told() -> None:
    async def main() -> None:
        await converse(Destination("tcp", host="127.0.0.1", port=1), TlsOptions(), 5.0)

    with pytest.raises(Failure, match="connection: Connection refused"):
        trio.run(main)
