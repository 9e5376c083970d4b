"""Tables with the keys of `--json`."""

import pytest

from dnsproxy.tap.arrow import FRAME, Tables, require, schema
from dnsproxy.tap.errors import MissingModule
from dnsproxy.tap.forms.json_lines import KEYS, values_of
from dnsproxy.tap.frame import TapFrame
from tests.tap.frames import corpus_payloads, payload

FRAMES = [TapFrame(each) for each in corpus_payloads()]


@pytest.mark.parametrize("frames", [False, True])
def test_rows_are_what_json_says(frames: bool) -> None:
    table = Tables(frames).of(FRAMES)
    assert table.to_pylist() == [values_of(frame, wire=True, octets=frames) for frame in FRAMES]


def test_columns_are_the_keys_in_their_order() -> None:
    assert tuple(schema(frames=False).names) == KEYS
    assert tuple(schema(frames=True).names) == (*KEYS, FRAME)


def test_types_do_not_depend_on_what_is_there() -> None:
    empty = Tables(frames=False).of([TapFrame(payload("CLIENT_QUERY", None, identity=None, query_time=None))])
    assert empty.schema == schema(frames=False)


def test_what_is_not_installed_is_named() -> None:
    require("this", "json", "struct")
    with pytest.raises(MissingModule, match="this takes what is not installed: pip install json no_such_module"):
        require("this", "json", "no_such_module")
