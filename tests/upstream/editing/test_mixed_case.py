"""Questions in random case: the same name, in letters that nobody foresees."""

from hypothesis import given
from hypothesis import strategies as st

from dnsproxy.upstream.editing.mixed_case import BLOCK, Dice

LABELS = st.lists(st.binary(min_size=1, max_size=63), max_size=3)


@given(LABELS)
def test_only_the_case_of_letters_changes(labels: list[bytes]) -> None:
    name = b"".join(bytes((len(label),)) + label for label in labels) + b"\0"
    mixed = Dice().mixed(name)
    assert mixed.lower() == name.lower()
    assert len(mixed) == len(name)


def test_every_letter_is_drawn_each_time() -> None:
    dice = Dice()
    name = b"\x0fabcdefghijklmno\7EXAMPLE\3org\0"
    drawn = [dice.mixed(name) for _ in range(3 * BLOCK // len(name))]
    assert len(set(drawn)) == len(drawn), "25 letters hardly ever repeat"
    for at, octet in enumerate(name):
        assert len({mixed[at] for mixed in drawn}) == (2 if chr(octet).isalpha() else 1)
