"""A connection's octets from any producer: what is said to it, what is taken from it, which damage there is."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dnsproxy.dnstap.framestreams import DNSTAP, MAX_SKIPPED, ControlType, control_frame, data_frame
from dnsproxy.tap.damage import Damages
from dnsproxy.tap.receiver import ACCEPT, FINISH, Receiver
from tests.tap.frames import START, STOP
from tests.tap.running import READY

ONE, TWO = data_frame(b"one"), data_frame(b"two")
OTHER = b"protobuf:other"


class Heard:
    """What became of octets that came in such pieces."""

    def __init__(self, *pieces: bytes, max_frame: int = 1 << 20) -> None:
        self.told: list[str] = []
        self.damages = Damages("s", self.told.append)
        self.receiver = Receiver(self.damages, max_frame)
        self.payloads: list[bytes] = []
        self.said: list[bytes] = []
        for piece in pieces:
            for run in self.receiver.receive_data(piece):
                self.payloads += run.payloads()
            self.said += [self.receiver.data_to_send()]

    @property
    def kinds(self) -> dict[str, int]:
        return dict(self.damages.counts)


def test_a_bidirectional_producer_is_answered() -> None:
    heard = Heard(READY, START, ONE + TWO[:3], TWO[3:], STOP)
    assert heard.said == [ACCEPT, b"", b"", b"", FINISH]
    assert heard.payloads == [b"one", b"two"]
    assert heard.damages.frames == 2
    assert heard.receiver.is_over
    assert heard.receiver.is_stopped
    assert heard.kinds == {}


def test_a_unidirectional_producer_is_told_nothing() -> None:
    heard = Heard(START + ONE + STOP)
    assert (heard.said, heard.payloads, heard.kinds) == ([b""], [b"one"], {})
    assert heard.receiver.is_stopped


@pytest.mark.parametrize(
    "ready",
    [
        control_frame(ControlType.READY),
        control_frame(ControlType.READY, OTHER, DNSTAP),
        control_frame(ControlType.READY, DNSTAP, OTHER),
    ],
)
def test_of_several_content_types_or_none_ours_is_taken(ready: bytes) -> None:
    assert Heard(ready).said == [ACCEPT]


@pytest.mark.parametrize(
    "start", [control_frame(ControlType.START), START, control_frame(77, b"x") + START]
)  # golang-dnstap leaves the content type out
def test_start_needs_no_content_type_and_unknown_control_frames_do_not_count(start: bytes) -> None:
    heard = Heard(READY + start + ONE + control_frame(99) + TWO)
    assert (heard.payloads, heard.kinds) == ([b"one", b"two"], {})


@pytest.mark.parametrize(
    ("octets", "kind", "text"),
    [
        (control_frame(ControlType.READY, OTHER), "content_type", "offset 0: content_type: the producer offers 'proto"),
        (READY + control_frame(ControlType.START, OTHER), "content_type", "offset 42: content_type: the producer"),
        (ONE, "start", "offset 0: start: data where READY or START should be"),
        (READY + ONE, "start", "offset 42: start: data where START should be"),
        (STOP, "start", "offset 0: start: STOP where READY or START should be"),
        (b"GET / HTTP/1.1\r\n", "start", "offset 0: start: frame of 1195725856 octets where READY or START should be"),
        (b"\x16\x03\x01\x02\0\1\0\1", "start", "offset 0: start: frame of 369295618 octets where READY"),
        (START + READY, "control", "offset 42: control: READY behind START"),
        (START + ONE + START, "control", "offset 49: control: START behind START"),
        (START + FINISH, "control", "offset 42: control: FINISH behind START"),
        (START + b"\0\0\0\0\0\0\0\2ab", "control", "offset 42: control: control frame without type"),
        (START + b"\0\0\0\0\0\0\2\1", "control", "offset 42: control: control frame of 513 octets"),
        (START + (MAX_SKIPPED + 1).to_bytes(4, "big"), "oversize", "offset 42: oversize: frame of 16777217 octets"),
        (START + STOP + ONE, "start", "offset 54: start: data behind STOP"),
    ],
)
def test_damage_ends_a_connection(octets: bytes, kind: str, text: str) -> None:
    heard = Heard(octets, ONE)
    assert heard.receiver.is_over
    assert heard.kinds == {kind: 1}
    assert heard.told[0].startswith(f"s: {text}")
    assert b"one" not in heard.payloads or octets == START + ONE + START
    heard.receiver.end()
    assert heard.kinds == {kind: 1}


def test_an_oversize_frame_is_passed_over() -> None:
    heard = Heard(START + ONE + data_frame(bytes(2000)) + TWO, max_frame=1000)
    assert heard.payloads == [b"one", b"two"]
    assert heard.kinds == {"oversize": 1}
    assert not heard.receiver.is_over


@pytest.mark.parametrize(
    ("octets", "kinds"),
    [
        (b"", {"handshake": 1}),
        (READY[:20], {"handshake": 1}),
        (READY, {"handshake": 1}),
        (READY + START, {}),
        (START + ONE, {}),
        (START + ONE + TWO[:3], {"truncated": 1}),
        (START + ONE + STOP, {}),
    ],
)
def test_the_end_is_damage_inside_a_frame_and_before_start(octets: bytes, kinds: dict[str, int]) -> None:
    heard = Heard(*([octets] if octets else []))
    heard.receiver.end()
    assert heard.receiver.is_over
    assert heard.kinds == kinds


@given(st.binary(max_size=300), st.integers(1, 40), st.sampled_from([b"", READY, START, READY + START]))
def test_any_octets_give_frames_or_damage_and_never_both_behind_the_end(octets: bytes, size: int, head: bytes) -> None:
    whole = head + octets
    heard = Heard(*(whole[at : at + size] for at in range(0, len(whole), size)), max_frame=100)
    heard.receiver.end()
    assert heard.receiver.is_over
    assert heard.receiver.received == len(whole)
    assert heard.receiver.receive_data(START + ONE) == []
    assert set(heard.said) <= {b"", ACCEPT, FINISH}
