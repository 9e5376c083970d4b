"""From frames and options to octets."""

import sys

import pytest

from dnsproxy.tap.errors import WrongUsage
from dnsproxy.tap.frame import TapFrame
from dnsproxy.tap.rendering import START, STOP, Rendering, has_color
from tests.tap.frames import payload, stream
from tests.tap.options import parsed

FRAMES = [
    TapFrame(payload(type, identity=b"ns%d" % number)) for number, type in enumerate(["CLIENT_QUERY", "AUTH_QUERY"])
]


def test_without_form_a_file_gets_frames_as_they_are() -> None:
    rendering = Rendering(parsed("-w", "out"))
    whole = rendering.begin + rendering.render(FRAMES) + rendering.end
    assert whole == stream(*[frame.payload for frame in FRAMES])
    assert (rendering.begin, rendering.end) == (START, STOP)


def test_a_form_makes_text() -> None:
    rendering = Rendering(parsed("-w", "out", "-q", "--utc"))
    assert rendering.begin == rendering.end == b""
    assert [line.split()[1] for line in rendering.render(FRAMES).splitlines()] == [b"CQ", b"AQ"]


def test_filters_come_before_masks() -> None:
    options = ["--client", "192.0.2.7", "--identity", "ns1", "--mask", "0/0", "--strip", "identity", "-w", "out"]
    expected = stream(payload("AUTH_QUERY", identity=None, query_address="0.0.0.0"))
    assert START + Rendering(parsed(*options)).render(FRAMES) + STOP == expected


def test_a_number_of_messages_is_the_number_printed() -> None:
    rendering = Rendering(parsed("--querylog", "--count", "3"))
    frames = [FRAMES[0], TapFrame(payload("CLIENT_RESPONSE")), FRAMES[1]]
    assert len(rendering.render(frames).splitlines()) == 2
    before = rendering.is_done
    assert len(rendering.render(frames).splitlines()) == 1
    assert (before, rendering.is_done) == (False, True)
    assert rendering.render(frames) == b""


def test_octets_that_are_no_text_come_out_as_they_were() -> None:
    frame = TapFrame(payload(identity=b"\xff\xfe"))
    assert b"identity: \xff\xfe" in Rendering(parsed("--bind", "-y")).render([frame])


@pytest.mark.parametrize("options", [["-a"], ["-a", "-q"], ["-a", "-w", "out"]])
def test_only_text_is_appended_and_only_to_a_file(options: list[str]) -> None:
    with pytest.raises(WrongUsage, match="-a appends"):
        Rendering(parsed(*options))


@pytest.mark.parametrize(
    ("options", "environment", "colored"),
    [
        ([], {}, True),
        ([], {"NO_COLOR": "1"}, False),
        ([], {"NO_COLOR": ""}, True),
        ([], {"TERM": "dumb"}, False),
        (["-w", "out"], {}, False),
        (["--color", "never"], {}, False),
        (["--color", "always"], {"NO_COLOR": "1"}, True),
    ],
)
def test_colours_are_for_terminals_and_those_who_want_them(
    options: list[str], environment: dict[str, str], colored: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert has_color(parsed(*options)) is colored
    monkeypatch.setattr(sys.stdout, "isatty", lambda: False)
    assert has_color(parsed(*options)) is ("always" in options)
