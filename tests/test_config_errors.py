"""What is wrong with configuration files: file, line, key, what was expected, and all of it at once."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dnsproxy.config import ConfigErrors, admin_path, load, parse
from tests.fake_plugins import fakes

pytestmark = pytest.mark.usefixtures("fakes")
__all__ = ["fakes"]

TO = 'to = ["192.0.2.1"]\n'


def errors(text: str) -> list[str]:
    """The errors' lines without the file's name, which all have."""
    try:
        parse(text, "x.toml")
    except ConfigErrors as exc:
        lines = str(exc).split("\n")
        assert all(line.startswith("x.toml:") for line in lines)
        return [line.removeprefix("x.toml:") for line in lines]
    return []


def places(text: str) -> list[str]:
    """Line and key of each error."""
    return [line.partition("] ")[0] + "]" for line in errors(text)]


def test_all_errors_come_at_once_in_the_order_of_their_lines() -> None:
    text = 'workers = "x"\nlisten = ["nonsense"]\n[[forward]]\npolicy = "randm"\ntimeout = 5\n[[forward]]\nto = []\n'
    assert places(text) == [
        "1: [workers]",
        "2: [listen]",
        "3: [forward[0].to]",
        "4: [forward[0].policy]",
        "5: [forward[0].timeout]",
        "7: [forward[1].to]",
    ]


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("workrs = 1", '1: [workrs] unknown key "workrs"; did you mean "workers"?'),
        (f"[[forward]]\n{TO}polcy = 1", '3: [forward[0].polcy] unknown key "polcy"; did you mean "policy"?'),
        (f"[forward]\n{TO}polcy = 1", '3: [forward.polcy] unknown key "polcy"; did you mean "policy"?'),
        (f"\n[[server]]\n[[server.forward]]\n{TO}frm=1", '5: [server[0].forward[0].frm] unknown key "frm"; did you'),
        (f"[[forward]]\n{TO}[[forward.frm]]\nx=1", '3: [forward[0].frm] unknown table "frm"; did you mean "from"?'),
        ("[limits]\nquerys = 1", '2: [limits.querys] unknown key "querys"; did you mean "queries"?'),
        ("[forward]", "1: [forward.to] missing; expected a list"),
        ("\n[[forward]]\n[[forward]]\n" + TO, "2: [forward[0].to] missing; expected a list"),
        ("[[server]]\n[[server.forward]]", "2: [server[0].forward[0].to] missing; expected a list"),
        (
            '[[forward]]\nto=[\n"192.0.2.1",\n"::1::53",\n]',
            '4: [forward[0].to] "::1::53" is an IPv6 address without br',
        ),
        ('[[forward]]\nto=["a",\n7]', "3: [forward[0].to] 7 is a number; expected an upstream such as"),
        ("[[forward]]\nto=[]", "2: [forward[0].to] is an empty list; expected a list"),
        (
            '[[forward]]\nto=["192.0.2.1",\n"192.0.2.1:53"]',
            '3: [forward[0].to] "192.0.2.1:53" is given twice; expected',
        ),
        (f"[[forward]]\n{TO}force_tcp = 1", "3: [forward[0].force_tcp] 1 is a number; expected true or false"),
        (f"[[forward]]\n{TO}max_attempts = true", "3: [forward[0].max_attempts] true is a boolean; expected a whole"),
        (f"[[forward]]\n{TO}max_attempts = 0", "3: [forward[0].max_attempts] 0 is too small; expected at least 1"),
        (f"[[forward]]\n{TO}max_attempts = 1.5", "3: [forward[0].max_attempts] 1.5 is a number; expected a whole"),
        (f"[[forward]]\n{TO}timeout = 2", "3: [forward[0].timeout] 2 has no unit; expected a duration such as"),
        (f'[[forward]]\n{TO}timeout = "0s"', '3: [forward[0].timeout] "0s" is too small; expected at least "1ms"'),
        (f'[[forward]]\n{TO}deadline = "1ms"', "3: [forward[0].deadline] is below 10ms; expected more"),
        (f'[[forward]]\n{TO}policy = "Random"', '3: [forward[0].policy] "Random" is not known; did you mean "random"?'),
        (
            f'[[forward]]\n{TO}from = ["a..b"]',
            '3: [forward[0].from] "a..b" is not a domain name: empty label; expected',
        ),
        (f'[[forward]]\n{TO}from = "10.0.0.1/8"', '3: [forward[0].from] "10.0.0.1/8" has bits set behind its prefix'),
        ("[cache]\nserve_stale = true", "2: [cache.serve_stale] true will not do; expected a duration such as"),
        ('[cache]\nsize = "16 apples"', '2: [cache.size] "16 apples" is not a size; expected a size such as "16MiB"'),
        (
            '[dnstap]\nsocket="/a"\nca="/no/such"',
            '3: [dnstap.ca] "/no/such": No such file or directory; expected a file',
        ),
        ("forward = 5", "1: [forward] 5 is a number; expected a table, [forward] or [[forward]]"),
        ("forward = []", "1: [forward] is an empty list; expected a table, [forward] or [[forward]]"),
        ('forward = ["x"]', "1: [forward] is a list; expected a table, [forward] or [[forward]]"),
        ("[[cache]]\n[[cache]]", "2: [cache[1]] is one too many; expected one [cache] in a server"),
        ("limits = 5", "1: [limits] 5 is a number; expected a table with queries"),
        ('[broken]\nx = "y"', "1: [broken] an unknown distribution cannot be loaded: ModuleNotFoundError: No module"),
    ],
)
def test_each_error_has_its_line_its_key_and_what_was_expected(text: str, error: str) -> None:
    (line,) = errors(text)
    assert line.startswith(error)


@pytest.mark.parametrize("workers", ["0", "-1", "1025", "1.5", "true", '"many"', "[1]"])
def test_workers_is_a_number_or_auto(workers: str) -> None:
    assert places(f"workers = {workers}") == ["1: [workers]"]


@pytest.mark.parametrize("admin", ["true", '""', "5", f'"/{"x" * 120}"'])
def test_admin_is_a_path_that_fits_a_socket_or_false(admin: str) -> None:
    assert places(f"admin = {admin}") == ["1: [admin]"]


@pytest.mark.parametrize(
    ("address", "what"),
    [
        ("nonsense", "has no port"),
        ("127.0.0.1", "has no port"),
        ("127.0.0.1:99999", "has a bad port"),
        ("127.0.0.1:", "has a bad port"),
        (":53", "has no host"),
        ("::1:53", "without brackets"),
        ("[::1", "brackets"),
        ("[127.0.0.1]:53", "no IPv6 address"),
        ("dns.example.org:53", "is not an IP address"),
        ("tls://127.0.0.1:853", "expected udp:// or tcp://"),
        ("https://127.0.0.1", "expected udp:// or tcp://"),
        ("quic://127.0.0.1", "expected udp:// or tcp://"),
        ("gopher://127.0.0.1", "expected udp:// or tcp://"),
    ],
)
def test_a_bad_listening_address_says_what_is_wrong_with_it(address: str, what: str) -> None:
    (line,) = errors(f'listen = [\n"{address}"]')
    assert line.startswith("2: [listen] ")
    assert what in line


@pytest.mark.parametrize(
    ("listen", "what"),
    [
        ('"127.0.0.1"', 'has no port; expected host:port such as "127.0.0.1:9153"'),
        ('"http://127.0.0.1:9153/metrics"', "is a URL; expected host:port"),
        ('"localhost:9153"', "is not an IP address; expected host:port"),
        ('"127.0.0.1:99999"', "has a bad port"),
        ('"::1:9153"', "without brackets"),
        ("9153", "is a number; expected host:port"),
        ("[]", "is an empty list"),
        ('["[::1]:9153", "[::1]:9153"]', "is given twice"),
        ('"127.0.0.1:53"', "127.0.0.1:53 is where queries arrive; expected another address"),
        ('["127.0.0.1:9153", "[::1]:53"]', "[::1]:53 is where queries arrive"),
    ],
)
def test_metrics_are_served_where_they_can_be_and_no_query_arrives(listen: str, what: str) -> None:
    (line,) = errors(f"[metrics]\nlisten = {listen}")
    assert line.startswith("2: [metrics.listen] ")
    assert what in line


@pytest.mark.parametrize("key", ["listen", "allow", "zones"])
def test_an_empty_list_where_something_is_needed_is_an_error(key: str) -> None:
    assert places(f'[[server]]\nlisten=["127.0.0.1:1"]\n[[server]]\n{key} = []')[0] == f"4: [server[1].{key}]"


def test_an_unknown_table_is_one_error_whatever_it_holds_and_however_often_it_comes() -> None:
    text = "[[froward]]\nx = 1\ny = {z = 2}\n[[froward]]\n[other.inner]\nkey = 1\n"
    first, second = errors(text)
    assert first == '1: [froward] unknown table "froward"; did you mean "forward"?'
    tables = '"broken", "cache", "dnstap", "forward", "limits", "metrics", "records" or "server"'
    assert second == f'5: [other] unknown table "other", and no plugin of that name is installed; expected {tables}'


def test_an_unknown_table_in_a_block_is_one_error() -> None:
    assert errors("[[server]]\n[server.chache]\nx=1") == [
        '2: [server[0].chache] unknown table "chache"; did you mean "cache"?'
    ]


def test_the_same_address_twice_is_an_error_at_the_second() -> None:
    text = 'listen = [\n"127.0.0.1:53",\n"[::1]:53",\n"udp://127.0.0.1:53"]'
    assert errors(text) == [
        '4: [listen] "udp://127.0.0.1:53" is listened on already, on line 2; expected each address once'
    ]


def test_addresses_are_compared_as_addresses() -> None:
    assert places('listen = ["[::1]:53",\n"[0:0::1]:53"]') == ["2: [listen]"]


def test_port_zero_twice_is_no_error() -> None:
    assert errors('listen = ["127.0.0.1:0", "127.0.0.1:0"]') == []


def test_two_servers_for_one_zone_on_one_address_are_an_error() -> None:
    text = '[[server]]\nlisten=["127.0.0.1:1"]\nzones=["a","b"]\n[[server]]\nlisten=["127.0.0.1:1"]\nzones=["B."]'
    (line,) = errors(text)
    assert line.startswith(
        '5: [server[1].listen] "127.0.0.1:1" is where server[0], on line 2, serves b. already; expected'
    )


def test_two_servers_without_addresses_are_an_error_once() -> None:
    assert places("[[server]]\n[[server]]") == ["2: [server[1].listen]"]


@pytest.mark.parametrize("text", ['zones = ["a"]', 'zones = ["a"]\n[[server]]\n'])
def test_zones_at_top_level_are_an_error(text: str) -> None:
    assert places(text) == ["1: [zones]"]


@pytest.mark.parametrize("key", ["workers = 1", 'admin = "/x"', "limits = {}", "metrics = {}"])
def test_keys_of_the_process_inside_a_block_are_errors(key: str) -> None:
    (line,) = errors(f"[[server]]\n{key}")
    assert line.endswith("stands inside a [[server]] block; expected it at top level")


def test_tables_and_keys_of_a_server_beside_blocks_are_errors_and_shared_taps_are_not() -> None:
    text = 'allow = ["192.0.2.0/24"]\n[[forward]]\n' + TO + '[[forward]]\n[[dnstap]]\nsocket="/a"\n[what]\n[[server]]\n'
    assert places(text) == ["1: [allow]", "2: [forward]", "7: [what]"]


def test_a_shared_tap_is_checked_once() -> None:
    text = '[[dnstap]]\nfull = 1\n[[server]]\nlisten=["127.0.0.1:1"]\n[[server]]\nlisten=["127.0.0.1:2"]\n'
    assert places(text) == ["1: [dnstap[0].socket]", "2: [dnstap[0].full]"]


def test_order_names_plugins_that_this_server_has_each_once() -> None:
    text = f'order = [\n"forward",\n"cashe",\n"records",\n"forward"]\n[forward]\n{TO}[cache]'
    assert errors(text) == [
        '3: [order] "cashe" is no plugin; did you mean "cache"?',
        '4: [order] "records" has no table here; expected "cache" or "forward"',
        '5: [order] "forward" is given twice; expected each once',
    ]


def test_a_plugins_own_check_sees_the_listeners_of_its_server() -> None:
    block = '[[server]]\nlisten=["127.0.0.1:{}"]\n[[server.forward]]\nto=["127.0.0.1:1",\n"127.0.0.1:2"]\n'
    assert errors(block.format(1) + block.format(2)) == [
        "4: [server[0].forward[0].to] is a loop; expected another server",
        "10: [server[1].forward[0].to] is a loop; expected another server",
    ]


def test_a_loop_through_a_wildcard_is_a_loop() -> None:
    assert places('listen = ["0.0.0.0:53"]\n[forward]\nto = ["127.0.0.7"]') == ["3: [forward.to]"]
    assert errors('listen = ["0.0.0.0:53"]\n[forward]\nto = ["192.0.2.1"]') == []


def test_check_counts_the_stanzas_that_could_be_read() -> None:
    text = '[[forward]]\n[[forward]]\nto=["127.0.0.1:53"]\ntimeout=1\n'
    assert places(text) == ["1: [forward[0].to]", "3: [forward[1].to]", "4: [forward[1].timeout]"]


def test_the_same_output_file_twice_is_an_error_across_servers_too() -> None:
    text = '[[server]]\nlisten=["127.0.0.1:1"]\n[server.dnstap]\nsocket="file:///a"\n'
    text += '[[server]]\nlisten=["127.0.0.1:2"]\n[[server.dnstap]]\nsocket="file:///a"\n'
    assert errors(text) == ['8: [server[1].dnstap[0].socket] "file:///a" is in use on line 4 already; expected another']


def test_an_error_in_a_multi_line_string_is_at_its_own_line() -> None:
    text = '[records]\nzones = ["a"]\ndata = """\ngood\nbad\ngood\nbad"""\n'
    assert places(text) == ["5: [records.data]", "7: [records.data]"]


def test_errors_of_a_whole_stanza_come_beside_those_of_single_keys() -> None:
    assert places('[dnstap]\nsocket = "/a"\ncert = "x"\nfull = 1') == ["1: [dnstap.key]", "4: [dnstap.full]"]


def test_what_follows_from_an_error_is_not_reported_beside_it() -> None:
    assert places('[dnstap]\nsocket = "/a"\ncert = 1\nkey = "x"') == ["3: [dnstap.cert]"]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a = ", "1: Invalid value"),
        ("\n\na = 1\na = 2", "4: Cannot overwrite a value"),
        ("[a\n", "1: Expected ']' at the end of a table declaration"),
        ('\na = """\n\n', "2: Unterminated string"),
        ("a = " + "[" * 2000, "1: is nested too deep"),
        ("a = 0x" + "F" * 9000, '1: [a] unknown key "a"'),
    ],
)
def test_a_syntax_error_has_its_line(text: str, line: str) -> None:
    assert errors(text)[0].startswith(line)


def test_a_number_of_many_digits_is_an_error_and_no_crash() -> None:
    assert len(errors("workers = " + "9" * 9000)) == 1
    assert len(errors("workers = 0x" + "F" * 9000)) == 1


def test_text_that_is_not_utf_8_has_its_line(tmp_path: Path) -> None:
    file = tmp_path / "x.toml"
    file.write_bytes(b"workers = 1\n# \xff\n")
    with pytest.raises(ConfigErrors) as caught:
        load(str(file))
    assert str(caught.value) == f"{file}:2: is not UTF-8 text; expected TOML"


@pytest.mark.parametrize(
    ("name", "why"), [("missing.toml", "No such file or directory"), (".", "Is a directory"), ("a\0b", "embedded null")]
)
def test_a_file_that_cannot_be_read_has_no_line(tmp_path: Path, name: str, why: str) -> None:
    with pytest.raises(ConfigErrors) as caught:
        load(f"{tmp_path}/{name}")
    assert str(caught.value).startswith(f"{tmp_path}/{name}: {why}")


def test_control_characters_of_the_file_do_not_reach_the_terminal() -> None:
    (line,) = errors('"\\u001b[31m" = 1')
    assert "\x1b" not in line


def test_the_admin_socket_is_found_in_a_file_with_other_errors(tmp_path: Path) -> None:
    file = tmp_path / "x.toml"
    file.write_text('admin = "/run/x.sock"\nworkers = 99\n[nonsense]')
    assert admin_path(str(file)) == "/run/x.sock"
    file.write_text("")
    assert admin_path(str(file)) is None
    file.write_text("\nadmin = false")
    with pytest.raises(ConfigErrors, match=r"x.toml:2: \[admin\] false: this proxy cannot be asked; expected"):
        admin_path(str(file))


values = st.sampled_from(
    [
        "1",
        "true",
        '"x"',
        '"."',
        "[]",
        '["."]',
        '["127.0.0.1:53"]',
        "{}",
        "{a=1}",
        "[{}]",
        '"5s"',
        "1.5",
        "07:32:00",
        "[[]]",
    ]
)
CORE = "listen zones order workers admin limits metrics allow server queries"
names = st.sampled_from(f"{CORE} forward dnstap cache broken x to from size socket policy timeout".split())
lines = st.one_of(
    st.tuples(names, values).map(" = ".join),
    names.map("[{}]".format),
    names.map("[[{}]]".format),
    names.map("[[server.{}]]".format),
    names.map("[server.{}]".format),
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(lines, max_size=12).map("\n".join))
def test_any_file_gives_a_configuration_or_errors_with_lines(text: str) -> None:
    for line in errors(text):
        number, colon, _ = line.partition(": ")
        assert colon
        assert 1 <= int(number) <= text.count("\n") + 1
