"""Lines made from templates."""

from base64 import b64decode

import pytest

from dnsproxy.tap.forms.json_lines import KEYS
from dnsproxy.tap.forms.template import TemplateForm
from dnsproxy.tap.frame import TapFrame
from tests.tap.frames import payload

Captured = pytest.CaptureFixture[str]


def line(template: str, octets: bytes = payload(extra=b'{"query/id": "00ff"}')) -> str:
    return TemplateForm(template).write(TapFrame(octets))


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("{name} {type} from {remote}:{port}", "www.example.org. A from 192.0.2.7:40000"),
        ("{.type} {.time} {.rcode}", "CLIENT_QUERY 2023-11-14T22:13:20.123456789Z -"),
        ("{.edns}", '{"version":0,"udp_size":1232,"do":false,"options":[]}'),
        ("{.flags} {.answer}", '["rd"] []'),
        ("{/query/id} {/no/such}", "00ff -"),
        ("plain", "plain"),
        ("", ""),
        ("{{name}}", "{www.example.org.}"),
        ("100%s {}", "100%s {}"),
    ],
)
def test_labels_become_values(template: str, expected: str) -> None:
    assert line(template) == expected + "\n"


def test_every_key_is_a_label(capsys: Captured) -> None:
    octets = payload()
    text = line(" ".join(f"{{.{key}}}" for key in (*KEYS, "frame")), octets)
    assert capsys.readouterr().err == ""
    assert b64decode(text.rsplit(" ", 1)[1]) == octets


def test_a_label_that_means_nothing_stays_and_is_told_once(capsys: Captured) -> None:
    form = TemplateForm("{foo} {.foo}")
    assert [form.write(TapFrame(payload())) for _ in range(2)] == ["{foo} {.foo}\n"] * 2
    assert capsys.readouterr().err.splitlines() == [
        "dnsproxy tap: --format: {foo} is no label, and stays as it is",
        "dnsproxy tap: --format: {.foo} is no label, and stays as it is",
    ]


def test_a_value_cannot_break_the_line() -> None:
    assert line("{.identity}|{/a}", payload(identity=b"a\nb", extra=b'{"a": "\\r"}')) == "a\\010b|\\013\n"
