"""Zone text and the file it may be in: what is wrong there is told with its line."""

import re
from pathlib import Path
from typing import Any

import pytest
import tomli
from dnsproxy_records import Records, RecordsConfig
from hypothesis import given
from hypothesis import strategies as st

from dnsproxy.config import OptionError, OptionErrors
from dnsproxy.convert import read_table
from dnsproxy.wire import name_to_text
from tests.plugins.zones import ZONE, ask, lines, records


def problems(text: str, *zones: str) -> list[tuple[int | None, str]]:
    with pytest.raises(OptionErrors) as caught:
        records(text, *zones)
    assert {error.path for error in caught.value.errors} == {("data",)}
    return [(error.line, error.message) for error in caught.value.errors]


@pytest.mark.parametrize(
    ("entry", "complaint"),
    [
        ("www AX 192.0.2.1", "unknown rdatatype 'AX'"),
        ("www A 192.0.2.256", "malformed"),
        ("www MX mail", "expecting an integer"),
        ("www CH A 192.0.2.1", "class"),
        ("a..b A 192.0.2.1", "label is empty"),
        ("x" * 64 + " A 192.0.2.1", "63 octets"),
        ('www TXT "unfinished', "ended unexpectedly"),
        ("www A 192.0.2.1 192.0.2.2", "expected EOL"),
        ("www A ( 192.0.2.1", "parentheses"),
        ("www OPT 1", "no such record"),
        ("www TYPE255 \\# 0", "holds data"),
        ("$TTL soon", "TTL"),
        ("$INCLUDE other.zone", "not allowed"),
        ("www.example.net. A 192.0.2.1", "outside"),
        ("www SOA . . 1 2 3 4 5", "SOA"),
        ("@ SOA . . 1 2 3 4 5\n@ SOA . . 6 7 8 9 0", "second SOA"),
        ("www CNAME a\nwww A 192.0.2.1", "CNAME and other data"),
        ("www CNAME a\nwww CNAME b", "second CNAME"),
        ("a DNAME b\nx.a A 192.0.2.1", "below a DNAME"),
        ("é\udcff A 192.0.2.1", "IDNA"),
    ],
)
def test_bad_text_is_an_error_with_its_line(entry: str, complaint: str) -> None:
    ((line, message),) = problems(f"\n; a comment (\nok A 192.0.2.1\n{entry}\n")
    assert complaint in message
    assert "; expected" in message
    assert line == 3 + entry.count("\n")


def test_every_bad_record_is_reported_with_the_line_on_which_it_starts() -> None:
    text = """\
        www A 1
        ok TXT ( "a (" ; )
           b )
        mail MX (
           10 )
        away.example.net. A 192.0.2.1
        www A 2
    """
    assert [line for line, _ in problems(text)] == [0, 3, 5, 6]


def test_carriage_returns_do_not_move_lines() -> None:
    assert [line for line, _ in problems("ok A 192.0.2.1\r\nwww A 1\r\n")] == [1]


@given(st.text(alphabet='aA1.*@$()";\\ \n\t-#', max_size=60))
def test_any_text_is_a_zone_or_the_documented_error(text: str) -> None:
    last_line = text.count("\n")
    try:
        plugin = records(text)
    except OptionErrors as exc:
        lines_with_errors = [error.line or 0 for error in exc.errors]
    else:
        lines_with_errors = []
        ask(plugin, "a.example.org.", "ANY")
    assert all(0 <= line <= last_line for line in lines_with_errors)


def read(table: dict[str, Any], folder: Path) -> tuple[RecordsConfig | None, list[OptionError]]:
    outcome = read_table(RecordsConfig, table, folder)
    return outcome.value, outcome.errors


def test_the_text_may_be_in_a_file_beside_the_configuration(tmp_path: Path) -> None:
    (tmp_path / "example.zone").write_bytes(b"\xef\xbb\xbf; latin-1 \xe9\r\nwww A 192.0.2.1\r\n")
    config, errors = read({"zones": [ZONE], "file": "example.zone"}, tmp_path)
    assert errors == []
    assert config is not None
    assert len(ask(Records([config]), "www.example.org.").answer) == 1


def test_errors_in_a_file_name_it_and_its_line(tmp_path: Path) -> None:
    path = tmp_path / "example.zone"
    path.write_bytes(b"ok A 192.0.2.1\nbad A 1\n\xe9 A 192.0.2.1\n")
    _, errors = read({"zones": [ZONE], "file": "example.zone"}, tmp_path)
    assert [error.path for error in errors] == [("file",), ("file",)]
    assert errors[0].message.startswith(f"{path}:2: ")
    assert errors[1].message.startswith(f"{path}:3: ")


def test_a_file_that_cannot_be_read_is_one_error(tmp_path: Path) -> None:
    _, errors = read({"zones": [ZONE], "file": "missing.zone"}, tmp_path)
    assert [error.path for error in errors] == [("file",)]


@pytest.mark.parametrize(("keys", "path"), [({}, ("data",)), ({"data": "", "file": "empty.zone"}, ("file",))])
def test_the_text_comes_from_exactly_one_place(keys: dict[str, str], path: tuple[str], tmp_path: Path) -> None:
    (tmp_path / "empty.zone").touch()
    _, errors = read({"zones": [ZONE], **keys}, tmp_path)
    assert [error.path for error in errors] == [path]


def test_a_bad_zone_name_does_not_make_its_records_wrong_too(tmp_path: Path) -> None:
    _, errors = read({"zones": [ZONE, "a..b."], "data": "www.a.b. A 192.0.2.1"}, tmp_path)
    assert [error.path[0] for error in errors] == ["zones"]


def test_the_configuration_in_the_readme_works(tmp_path: Path) -> None:
    readme = Path(__file__).parents[2] / "plugins" / "dnsproxy_records" / "README.md"
    (block,) = re.findall(r"```toml\n(.*?)```", readme.read_text(), re.DOTALL)
    config, errors = read(tomli.loads(block)["records"], tmp_path)
    assert errors == []
    assert config is not None
    plugin = Records([config])
    assert lines(ask(plugin, "x.apps.example.test."))[1] == "www.example.test. 300 IN A 192.0.2.10"
    assert plugin.describe() == ["answers for example.test., 2.0.192.in-addr.arpa. (8 names)"]
    assert [name_to_text(zone) for zone in config.zones] == ["example.test.", "2.0.192.in-addr.arpa."]
