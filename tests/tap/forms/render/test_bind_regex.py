"""The check that BIND makes of NAPTR's substitutions."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dnsproxy.tap.forms.render.bind_regex import groups_of, is_substitution


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"!^.*$!sip:info@example.org!",
        b"/(a)(b)/\\2\\1/i",
        b"!a!b!iii",
        b"!a\\!b!c!",
        b"!a!\\x!",
        b"\xffa\xffb\xff",
    ],
)
def test_a_substitution_is_taken(text: bytes) -> None:
    assert is_substitution(text)


@pytest.mark.parametrize(
    "text",
    [
        b"!",
        b"!a",
        b"!a!b",
        b"!!b!",
        b"!a!b!g",
        b"!a!b!!",
        b"!a!\\0!",
        b"!a!\\1!",
        b"!(a)!\\2!",
        b"!a!b\\",
        b"!a\0!b!",
        b"!a\\\0!b!",
        b"1a1b1",
        b"iaibi",
        b"\\a\\b\\",
        b"!(a!b!",
    ],
)
def test_what_is_none_is_refused(text: bytes) -> None:
    assert not is_substitution(text)


@pytest.mark.parametrize(
    ("text", "groups"),
    [
        (b"a", 0),
        (b"(a)", 1),
        (b"()", 1),
        (b"((a)(b))", 3),
        (b"(a)\\1", 1),
        (b"a|b", 0),
        (b"a{2}b{3,}c{4,5}", 0),
        (b"a{x", 0),
        (b"[abc]", 0),
        (b"[]a]", 0),
        (b"[^]a]", 0),
        (b"[^^]", 0),
        (b"[-a]", 0),
        (b"[[:alpha:]_]", 0),
        (b"[[.a.]-z]", 0),
        (b"[[.hyphen.]]", 0),
        (b"[[=e=]]", 0),
        (b"[[x]", 0),
        (b"^$", 0),
        (b")", 0),
        (b"a]", 0),
        (b"\\\\", 0),
    ],
)
def test_an_expression_has_its_groups(text: bytes, groups: int) -> None:
    assert groups_of(text) == groups


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"*",
        b"a**",
        b"^*",
        b"(*a)",
        b"(a",
        b"|a",
        b"a|",
        b"(a|)",
        b"a{256}",
        b"a{3,2}",
        b"a{1,,2}",
        b"a{1",
        b"{1}",
        b"a+{1}",
        b"[a",
        b"[]",
        b"[z-a]",
        b"[a-c-e]",
        b"[a-z-]",
        b"[[:nope:]]",
        b"[[:alpha:",
        b"[[..]]",
        b"[[==]]",
        b"[a-[=b=]]",
        b"[a-[:alpha:]]",
        b"\\",
        b"\\1",
        b"(a)\\2",
    ],
)
def test_what_is_no_expression_has_none(text: bytes) -> None:
    assert groups_of(text) is None


@given(st.text(alphabet="ab1\\[](){}.,-^$*+?|:=!", max_size=20))
def test_any_text_is_an_expression_or_none(text: str) -> None:
    groups = groups_of(text.encode())
    assert groups is None or 0 <= groups <= text.count("(")
