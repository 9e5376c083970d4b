"""The check that BIND makes of `dohpath`."""

import pytest

from dnsproxy.tap.forms.render.bind_uri import is_dohpath


@pytest.mark.parametrize(
    "value",
    [
        b"/dns-query{?dns}",
        b"/{dns}",
        b"/{+dns*}",
        b"/{dns:3}",
        b"/{a,dns}/b",
        b"/{a*,dns}",
        b"/{a,?dns}",
        b"/{x:3,}{dns}",
        b"/{x:3,y,dns}",
        b"/%2F{%41b,dns}",
        b"/a}{dns}",
        "/é{dns}".encode(),
        b"/\xed\xa0\x80{dns}",
    ],
)
def test_a_template_with_the_variable_is_taken(value: bytes) -> None:
    assert is_dohpath(value)


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"dns-query{?dns}",
        b"/dns-query",
        b"/{DNS}",
        b"/{dnsx}",
        b"/{}{dns}",
        b"/{??dns}",
        b"/{=dns}",
        b"/{dns",
        b"/{dns:0}",
        b"/{dns:}",
        b"/{dns:10000}",
        b"/{dns:3*}",
        b"/{dns**}",
        b"/{d.ns}{dns}",
        b"/{x:3,dns}",
        b"/{x:3,?dns}",
        b"/%2{dns}",
        b"/{%4}{dns}",
        b"/{dns-x}",
        b"/\xff{dns}",
    ],
)
def test_what_is_none_is_refused(value: bytes) -> None:
    assert not is_dohpath(value)
