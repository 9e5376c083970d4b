"""SQL over frames."""

import signal
from pathlib import Path

import pytest

from dnsproxy.tap import arrow, database
from dnsproxy.tap.database import Database
from dnsproxy.tap.errors import Failure, MissingModule
from dnsproxy.tap.forms.json_lines import KEYS, values_of
from dnsproxy.tap.frame import TapFrame
from tests.tap.frames import corpus_payloads, payload

FRAMES = [TapFrame(each) for each in corpus_payloads()]


def test_columns_are_the_keys_of_json_with_their_values() -> None:
    with Database() as database:
        database.insert(FRAMES)
        names, rows = database.query("SELECT * FROM dns")
        assert names == list(KEYS)
        assert [dict(zip(names, row, strict=True)) for row in rows] == [values_of(frame) for frame in FRAMES]


def test_what_is_inside_a_value_can_be_asked_for() -> None:
    with Database() as database:
        database.insert([TapFrame(payload("CLIENT_QUERY", query_port=number)) for number in range(10)])
        names, rows = database.query("SELECT edns.udp_size, flags[1] AS flag, max(query_port) FROM dns GROUP BY ALL")
        assert (names[1], list(rows)) == ("flag", [(1232, "rd", 9)])


def test_all_rows_are_there_however_many_are_inserted_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "INSERTED", 3)
    with Database() as found:
        for frame in FRAMES:
            found.insert([frame])
        assert list(found.query("SELECT count(*) FROM dns")[1]) == [(len(FRAMES),)]


def test_without_frames_the_table_is_there() -> None:
    with Database() as database:
        assert list(database.query("SELECT count(*) FROM dns")[1]) == [(0,)]


@pytest.mark.parametrize("query", ["SELEKT", "SELECT colour FROM dns", "SELECT 1/'a'", ""])
def test_a_wrong_query_is_a_failure_of_one_line(query: str) -> None:
    with Database() as database:
        if not query:
            assert database.query(query)[0] == []
            return
        with pytest.raises(Failure) as failure:
            list(database.query(query)[1])
    assert "\n" not in str(failure.value)


def test_nothing_is_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with Database() as database:
        database.insert(FRAMES)
        assert list(tmp_path.iterdir())
    assert not list(tmp_path.iterdir())


def test_whatever_stops_us_stops_a_long_query_too() -> None:
    class Stop(BaseException):
        pass

    def stop(_number: int, _frame: object) -> None:
        raise Stop

    before = signal.signal(signal.SIGALRM, stop)
    try:
        with Database() as found:
            signal.setitimer(signal.ITIMER_REAL, 0.3)
            with pytest.raises(Stop):
                found.query("SELECT count(*) FROM range(30000000000) WHERE range % 7 = 3")
    finally:
        signal.signal(signal.SIGALRM, before)


def test_a_module_that_is_not_there_is_named_with_what_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    with pytest.raises(MissingModule, match="duckdb"):
        arrow.require("sql", "duckdb", "pyarrow")
