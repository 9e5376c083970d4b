"""The forms of `dnstap` and `dnstap-read`: the same octets as theirs, over thousands of odd frames."""

import subprocess
from pathlib import Path
from typing import Protocol

import pytest

from dnsproxy.tap.forms.bind_short import BindShort
from dnsproxy.tap.forms.bind_text import BindHex, BindText
from dnsproxy.tap.forms.bind_yaml import BindYaml
from dnsproxy.tap.forms.dnstap_json import DnstapJson
from dnsproxy.tap.forms.dnstap_yaml import DnstapYaml
from dnsproxy.tap.frame import TapFrame
from tests.conftest import SetZone
from tests.support.framestreams import START, STOP, control_frame
from tests.support.odd_messages import OddMessages, response_frame
from tests.support.odd_records import OPTION_CODES, TYPES
from tests.support.programs import require_program

pytestmark = pytest.mark.interop

SEED = 2023
FRAMES = 3000
OF_EACH = 30  # type of record, and code of option
WITHIN_S = 30.0


class Form(Protocol):
    def write(self, frame: TapFrame) -> str: ...


class Recording:
    """Frames, and the file they are in."""

    def __init__(self, path: Path, frames: list[bytes]) -> None:
        self.path = path
        self.frames = frames
        stream = b"".join(len(frame).to_bytes(4, "big") + frame for frame in frames)
        path.write_bytes(control_frame(START, content_type=True) + stream + control_frame(STOP))

    def real(self, *command: str) -> bytes:
        """What a real program prints."""
        program = require_program(command[0])
        done = subprocess.run([program, *command[1:], str(self.path)], capture_output=True, timeout=WITHIN_S)
        return done.stdout

    def check(self, form: Form, *command: str) -> None:
        """Frame by frame, so that a failure shows the one that differs."""
        expected = self.real(*command)
        assert len(expected) > len(self.frames)
        at = 0
        for number, payload in enumerate(self.frames):
            text = form.write(TapFrame(payload)).encode("utf-8", "surrogateescape")
            assert text == expected[at : at + len(text)], f"frame {number}: {payload.hex()}"
            at += len(text)
        assert at == len(expected)


@pytest.fixture(scope="module")
def tame(tmp_path_factory: pytest.TempPathFactory) -> Recording:
    """Messages of all kinds, in frames that the real programs live through."""
    odd = OddMessages(SEED)
    frames = [odd.frame(tame=True) for _ in range(FRAMES)]
    frames += [response_frame(odd.message_of(type)) for type in TYPES for _ in range(OF_EACH)]
    frames += [response_frame(odd.message_with(code)) for code in OPTION_CODES for _ in range(OF_EACH)]
    return Recording(tmp_path_factory.mktemp("tame") / "odd.fstrm", frames)


@pytest.fixture(scope="module")
def wild(tmp_path_factory: pytest.TempPathFactory) -> Recording:
    """Frames with addresses of any size and nanoseconds of any number."""
    odd = OddMessages(SEED + 1)
    return Recording(tmp_path_factory.mktemp("wild") / "odd.fstrm", [odd.frame() for _ in range(FRAMES)])


@pytest.fixture(params=["UTC", "America/St_Johns", "Pacific/Apia"])
def zone(request: pytest.FixtureRequest, set_zone: SetZone) -> None:
    """Local time, the programs' and ours."""
    set_zone(request.param)


def test_dnstap_yaml_is_that_of_dnstap(tame: Recording) -> None:
    tame.check(DnstapYaml(), "dnstap", "-y", "-r")


def test_dnstap_yaml_is_that_of_dnstap_for_wild_frames(wild: Recording) -> None:
    wild.check(DnstapYaml(), "dnstap", "-y", "-r")


def test_dnstap_json_is_that_of_dnstap(tame: Recording) -> None:
    tame.check(DnstapJson(), "dnstap", "-j", "-r")


@pytest.mark.usefixtures("zone")
def test_the_short_line_is_that_of_dnstap_read_in_any_zone(tame: Recording) -> None:
    tame.check(BindShort(), "dnstap-read")


def test_the_text_is_that_of_dnstap_read(tame: Recording) -> None:
    tame.check(BindText(), "dnstap-read", "-p")


def test_the_hex_digits_are_those_of_dnstap_read(tame: Recording) -> None:
    tame.check(BindHex(), "dnstap-read", "-x")


def test_the_yaml_is_that_of_dnstap_read(tame: Recording) -> None:
    tame.check(BindYaml(), "dnstap-read", "-y")
