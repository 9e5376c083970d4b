"""What commands share on their command lines."""

import argparse

import pytest

from dnsproxy.tap import common
from dnsproxy.tap.errors import WrongUsage

OPTIONS = """
    -q -y -j --bind -p -x --json --querylog --format --utc --color -w -a --count --concat --jobs --max-frame --no-wire
    --frame --types --zone --client --qtype --rcode --protocol --identity --slower-than --only --extra --since --until
    --sample --mask --pseudonymize --strip
"""


def parser() -> common.Parser:
    made = common.Parser("test", "A test.")
    common.add_files(made)
    common.add_order(made)
    common.add_jobs(made)
    common.add_forms(made)
    common.add_output(made)
    common.add_filters(made)
    common.add_masks(made)
    return made


def parsed(*arguments: str) -> argparse.Namespace:
    return parser().parse_intermixed_args(arguments)


def test_defaults() -> None:
    options = parsed("-")
    assert (options.files, options.max_frame, options.jobs, options.concat) == (["-"], 1 << 20, 1, False)
    assert (options.write, options.append, options.count, options.color, options.utc) == (
        None,
        False,
        None,
        "auto",
        False,
    )


def test_options_and_files_stand_in_any_order() -> None:
    options = parsed("a", "-q", "b", "--max-frame", "2MiB", "-w", "out", "c", "--count", "7", "--types", "CQ")
    assert options.files == ["a", "b", "c"]
    assert (options.max_frame, options.write, options.count, options.types) == (2 << 20, "out", 7, ["CQ"])


def test_values_may_begin_with_an_exclamation_mark_and_be_given_again() -> None:
    assert parsed("f", "--zone", "!a.test", "--zone", "b.test").zone == ["!a.test", "b.test"]


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ((), "FILE"),
        (("f", "--nonsense"), "--nonsense"),
        (("f", "--ty", "CQ"), "--ty"),
        (("f", "--count", "0"), '"0" is no number'),
        (("f", "--count", "²"), "is no number"),
        (("f", "--jobs", "-1"), '"-1"|expected one argument'),
        (("f", "--max-frame", "many"), "not a size"),
        (("f", "--color", "blue"), "blue"),
        (("f", "-w"), "-w"),
    ],
)
def test_wrong_usage_is_one_line(arguments: tuple[str, ...], reason: str) -> None:
    with pytest.raises(WrongUsage, match=reason) as caught:
        parsed(*arguments)
    assert "\n" not in str(caught.value)


def test_durations_and_sizes_are_the_configurations() -> None:
    assert (common.duration("1.5s"), common.size("64KiB"), common.size("4096")) == (1.5, 65536, 4096)
    with pytest.raises(argparse.ArgumentTypeError, match="not a duration"):
        common.duration("5")


def test_help_names_every_option(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        parsed("--help")
    assert caught.value.code == 0
    text = capsys.readouterr().out
    assert text.startswith("usage: dnsproxy tap test ")
    assert [option for option in OPTIONS.split() if f" {option}" not in text] == []
