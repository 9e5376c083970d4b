"""The scanner of lines against the TOML parser: every path that the parser yields has its line, no input crashes."""

from collections.abc import Iterator
from typing import Any

import pytest
import tomli
from hypothesis import given
from hypothesis import strategies as st

from dnsproxy.toml_lines import KeyPath, scan

DOCUMENT = """\
# a comment with [brackets] and "quotes
listen = [ # not ] the end
    "127.0.0.1:53", # a comment, with a comma
    "[::1]:53",
]
limits.queries = 5

[[forward]]
from = "."
to = ["a", "b"]

  [[ "forward" ]]
'fr#om' = 'x\\'
extra = { json = ["query/id", [1, 2]], deep = { er = 1 } }

[forward.sub]
key = 1979-05-27 07:32:00

[[server]]
[server.limits]
[[server.forward]]
[[server.forward]]
to = 1
"""


@pytest.mark.parametrize(
    ("path", "line"),
    [
        (("listen",), 2),
        (("listen", 0), 3),
        (("listen", 1), 4),
        (("limits",), 6),
        (("limits", "queries"), 6),
        (("forward",), 8),
        (("forward", 0), 8),
        (("forward", 0, "to", 1), 10),
        (("forward", 1), 12),
        (("forward", 1, "fr#om"), 13),
        (("forward", 1, "extra", "json", 1, 1), 14),
        (("forward", 1, "extra", "deep", "er"), 14),
        (("forward", 1, "sub"), 16),
        (("forward", 1, "sub", "key"), 17),
        (("server", 0, "limits"), 20),
        (("server", 0, "forward", 1), 22),
        (("server", 0, "forward", 1, "to"), 23),
    ],
)
def test_each_kind_of_path_has_its_own_line(path: KeyPath, line: int) -> None:
    assert scan(DOCUMENT).lines[path] == line


def test_a_missing_key_is_at_its_tables_header() -> None:
    lines = scan(DOCUMENT)
    assert lines.line(("forward", 1, "policy")) == 12
    assert lines.line(("nowhere", "at", "all")) == 1


def test_a_header_that_comes_after_its_sub_table_is_at_its_own_line() -> None:
    lines = scan("[a.b]\n[a]\nx = 1\n")
    assert (lines.line(("a",)), lines.line(("a", "b")), lines.line(("a", "x"))) == (2, 1, 3)


def test_carriage_returns_do_not_count_as_lines() -> None:
    assert scan("a = 1\r\nb = '''\r\nx\r\ny'''\r\n").line(("b",), 1) == 4


@pytest.mark.parametrize("quotes", ['"""', "'''"])
def test_lines_of_a_multi_line_string_are_those_of_the_file(quotes: str) -> None:
    lines = scan(f"[records]\ndata = {quotes}\nfirst\nsecond{quotes}\n")
    assert [lines.line(("records", "data"), number) for number in range(3)] == [3, 4, 4]
    lines = scan(f"data = {quotes}first\nsecond{quotes}\n")
    assert [lines.line(("data",), number) for number in range(2)] == [1, 2]


def test_escapes_add_lines_to_a_value_and_a_backslash_at_the_end_joins_them() -> None:
    text = 'data = """\nzero\\none\\u000Atwo \\\n\n  still two\nthree \\\\\nfour"""\n'
    value = tomli.loads(text)["data"]
    assert value.split("\n") == ["zero", "one", "two still two", "three \\", "four"]
    assert [scan(text).line(("data",), number) for number in range(5)] == [2, 2, 2, 5, 6]


def test_a_text_that_begins_with_a_continuation_begins_further_down() -> None:
    assert scan('data = """\\\n\n   zero\none"""\n').line(("data",), 0) == 3


def test_the_line_of_a_one_line_string_is_that_of_its_key() -> None:
    assert scan('\ndata = "zero\\none"\n').line(("data",), 1) == 2


def test_nesting_far_deeper_than_any_recursion_is_walked() -> None:
    assert scan("a = " + "[" * 100_000 + "]" * 100_000 + "\nb = 1").line(("b",)) == 2
    assert scan("a = " + "{ a = " * 50_000 + "}" * 50_000 + "\nb = 1").line(("b",)) == 2
    assert scan("a" + ".a" * 50_000 + " = 1\nb = 1").line(("b",)) == 2


def paths(value: Any, path: KeyPath = ()) -> Iterator[KeyPath]:
    """Every path that a parsed document has."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for part, inner in items:
        yield (*path, part)
        yield from paths(inner, (*path, part))


def assert_every_path_has_a_line(text: str) -> None:
    parsed = tomli.loads(text)
    lines = scan(text).lines
    missing = [path for path in paths(parsed) if path not in lines]
    assert not missing
    last = text.count("\n") + 1
    assert all(1 <= line <= last for line in lines.values())


@given(st.text())
def test_no_text_crashes_the_scanner(text: str) -> None:
    scan(text).line(("x",), 3)


PIECES = ["a", "b.c", '"d e"', "'f'", "=", " ", "\n", "[", "]", "[[", "]]", "{", "}", ",", "#x", "1", "true", '"', "'"]
PIECES += [
    '"""',
    "'''",
    "\\",
    "\\\n",
    '\\"',
    "\t",
    ".",
    "1979-05-27 07:32:00",
    "\r\n",
    "é",
    "\\u00e9",
    "= [",
    "= {",
    "\n[",
]


@given(st.lists(st.sampled_from(PIECES), max_size=40).map("".join))
def test_what_the_parser_accepts_has_all_its_lines(text: str) -> None:
    scan(text)
    try:
        tomli.loads(text)
    except tomli.TOMLDecodeError:
        return
    assert_every_path_has_a_line(text)


blanks = st.sampled_from(["", " ", "\n", "  \n\t", " # , ] } ' \" comment\n"])
bare_keys = st.from_regex(r"[A-Za-z0-9_-]{1,4}", fullmatch=True)
contents = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"], exclude_characters="\"'\\"), max_size=8
)
keys = st.one_of(bare_keys, contents.map(lambda text: f'"{text}"'), contents.map(lambda text: f"'{text}'"))
strings = st.one_of(
    contents.map(lambda text: f'"{text}\\n\\"\\\\"'),
    contents.map(lambda text: f"'{text}\\'"),
    st.lists(st.one_of(contents, st.sampled_from(["\n", '\\"', '"', '""', "\\\n \n", "\\n", "'"])), max_size=6).map(
        lambda parts: '"""' + "".join(parts).replace('"""', "") + '\\""""'
    ),
    st.lists(st.one_of(contents, st.sampled_from(["\n", '"""', "\\", "'x"])), max_size=6).map(
        lambda parts: "'''" + "".join(parts) + "'x'''"
    ),
)
scalars = st.one_of(strings, st.sampled_from(["1", "-1.5e3", "true", "inf", "1979-05-27 07:32:00Z", "0x1F"]))


def _list(parts: list[tuple[str, str, str]]) -> str:
    return "[" + ",".join(before + value + after for before, value, after in parts) + "]"


def _inline(parts: list[tuple[str, str]]) -> str:
    return "{ " + ", ".join(f"k{number}.{key} = {value}" for number, (key, value) in enumerate(parts)) + " }"


values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(st.tuples(blanks, inner, blanks), max_size=4).map(_list)
        | st.lists(st.tuples(keys, inner), max_size=3).map(_inline)
    ),
    max_leaves=8,
)
pairs = st.tuples(st.integers(0, 20), keys, values).map(lambda pair: f"p{pair[0]}.{pair[1]} = {pair[2]}")
headers = st.tuples(st.integers(0, 5), keys, st.booleans()).map(
    lambda header: f"[[t{header[0]}]]" if header[2] else f"[s{header[0]} . {header[1]}]"
)
documents = st.lists(st.one_of(pairs, pairs, headers, st.just("# comment"), st.just("")), max_size=12).map("\n".join)


@given(documents)
def test_documents_with_all_that_toml_knows_have_all_their_lines(text: str) -> None:
    try:
        tomli.loads(text)
    except tomli.TOMLDecodeError:
        return
    assert_every_path_has_a_line(text)


@given(st.lists(st.tuples(blanks, st.sampled_from(["[{}]", '["x", {}]', "{{ v = {} }}", "{}"])), max_size=10))
def test_a_value_is_found_on_the_line_where_it_is_written(entries: list[tuple[str, str]]) -> None:
    text = "".join(f"{blank}\nkey{n} = {form.format(7000 + n)}\n" for n, (blank, form) in enumerate(entries))
    lines = scan(text).lines
    for number in range(len(entries)):
        written = next(n for n, line in enumerate(text.split("\n"), 1) if str(7000 + number) in line)
        found = {line for path, line in lines.items() if path[0] == f"key{number}"}
        assert found == {written}


@given(st.lists(st.sampled_from(["\n", "\\n", "\\\n", "\\\n \n ", "word", '\\"', " ", "\\\\"]), max_size=12))
def test_each_word_of_a_multi_line_string_is_traced_to_its_line(parts: list[str]) -> None:
    numbered = [f"w{number}" if part == "word" else part for number, part in enumerate(parts)]
    text = 'x = """\n' + "".join(numbered) + '."""\n'
    lines = scan(text)
    source = text.split("\n")
    for value_line, content in enumerate(tomli.loads(text)["x"].split("\n")):
        words = [word for word in numbered if word.startswith("w") and word in content.replace(".", " ").split()]
        if words:
            written = next(number for number, line in enumerate(source, 1) if words[0] in line)
            assert lines.line(("x",), value_line) <= written
