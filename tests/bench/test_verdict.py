"""Which bars are held, which are broken, and which cannot be judged."""

from harness.bars import ALWAYS, COMPILED, CPU, Bar
from harness.figures import Results
from harness.sample import Sample
from harness.verdict import Build, judge, shown
from harness.workloads import (
    CACHE_HIT,
    CACHE_HIT_TAP,
    COREDNS,
    DNSDIST,
    FORWARD,
    IN_FLIGHT,
    PACED,
    PACED_500,
    TAPS_20000,
    TWO_TAPS,
    WORKLOADS,
    Workload,
)

from tests.bench.samples import sample

COMPILED_BUILD = Build("ours", "compiled")


def verdicts(*samples: Sample, builds: tuple[Build, ...] = (COMPILED_BUILD,)) -> list[str]:
    return [str(verdict) for verdict in judge(Results(samples), builds)]


def about(lines: list[str], *words: str) -> str:
    """The one line that has all these words."""
    (line,) = [line for line in lines if all(word in line for word in words)]
    return line


def test_a_bar_is_held_up_to_its_limit_and_broken_beyond() -> None:
    held = verdicts(sample(FORWARD, "ours", 10), sample(FORWARD, DNSDIST, 10))
    assert about(held, "CPU per query ≤ 1 × dnsdist").startswith("held: ours, forward")
    broken = verdicts(sample(FORWARD, "ours", 10.2), sample(FORWARD, DNSDIST, 10))
    assert about(broken, "CPU per query ≤ 1 × dnsdist") == (
        "BROKEN: ours, forward: CPU per query ≤ 1 × dnsdist; it is 1.02"
    )


def test_more_queries_a_second_are_better() -> None:
    lines = verdicts(sample(FORWARD, "ours", per_second=90.0), sample(FORWARD, DNSDIST, per_second=100.0))
    assert about(lines, "queries/s ≥ 1 × dnsdist").startswith("BROKEN")


def test_without_the_peer_there_is_nothing_to_judge() -> None:
    lines = verdicts(sample(FORWARD, "ours"))
    assert about(lines, "CPU per query ≤ 0.33 × CoreDNS") == (
        "not judged: ours, forward: CPU per query ≤ 0.33 × CoreDNS; CoreDNS was not measured"
    )


def test_a_workload_that_was_not_measured_is_not_mentioned() -> None:
    assert not [line for line in verdicts(sample(FORWARD, "ours")) if "cache" in line]


def test_an_interpreted_build_has_bars_of_its_own() -> None:
    samples = sample(FORWARD, "ours", 12), sample(FORWARD, DNSDIST, 10)
    lines = verdicts(*samples, builds=(Build("ours", "interpreted"),))
    assert about(lines, "dnsdist").startswith("held: ours, forward: CPU per query ≤ 1.3 × dnsdist")


def test_the_interpreted_build_is_measured_by_the_compiled_one() -> None:
    builds = (Build("fast", "compiled"), Build("slow", "interpreted"))
    lines = verdicts(sample(FORWARD, "fast", 10), sample(FORWARD, "slow", 15), builds=builds)
    assert about(lines, "× fast") == "BROKEN: slow, forward: CPU per query ≤ 1.4 × fast; it is 1.5"


def test_lost_queries_and_other_rcodes_break_soundness() -> None:
    assert verdicts(sample(FORWARD, "ours", lost=0.002))[0].startswith("BROKEN: ours, forward, worst round: 0.20% lost")
    assert verdicts(sample(FORWARD, "ours", noerror=0.9))[0].startswith("BROKEN")
    assert verdicts(sample(FORWARD, "ours"))[0].startswith("held")


def test_the_worst_round_decides_on_soundness() -> None:
    rounds = sample(FORWARD, "ours"), sample(FORWARD, "ours", lost=0.5), sample(FORWARD, "ours")
    assert verdicts(*rounds)[0].startswith("BROKEN")


def test_a_forwarder_that_does_not_forward_is_no_measurement_of_forwarding() -> None:
    assert verdicts(sample(FORWARD, "ours", asked=0.1))[0].startswith("BROKEN")
    assert verdicts(sample(CACHE_HIT, "ours", asked=0.1))[0].startswith("BROKEN")
    assert verdicts(sample(CACHE_HIT, "ours", asked=0.0))[0].startswith("held")


def test_a_tap_must_send_nine_tenths_of_its_offer() -> None:
    assert verdicts(sample(TWO_TAPS, "ours", sent=0.9, delivered=0.95))[0].startswith("held")
    assert verdicts(sample(TWO_TAPS, "ours", sent=0.89, delivered=0.95))[0].startswith("BROKEN")
    assert verdicts(sample(TWO_TAPS, "ours", sent=1.0, delivered=0.8))[0].startswith("BROKEN")


def test_at_twenty_thousand_a_second_a_tap_drops_nothing() -> None:
    lines = verdicts(sample(TAPS_20000, "ours", per_second=20_000.0, sent=1.0, delivered=1.0, dropped=1))
    assert lines[0].startswith("held")
    assert about(lines, "messages dropped ≤ 0").startswith("BROKEN")


def test_a_rate_that_was_not_reached_is_not_that_rate() -> None:
    assert verdicts(sample(PACED_500, "ours", per_second=499.0))[0].startswith("held")
    assert verdicts(sample(PACED_500, "ours", per_second=400.0))[0].startswith("BROKEN")


def test_memory_counts_only_with_as_many_in_flight_as_meant() -> None:
    lines = verdicts(sample(IN_FLIGHT, "ours", most_waiting=10_000, peak_mib=61.0))
    assert lines[0].startswith("held")
    assert about(lines, "resident memory ≤ 60 MiB") == (
        "BROKEN: ours, 10 000 queries in flight: resident memory ≤ 60 MiB; it is 61.0"
    )
    assert verdicts(sample(IN_FLIGHT, "ours", most_waiting=1_000, peak_mib=50.0))[0].startswith("BROKEN")


def test_the_bars_are_the_targets() -> None:
    """As the project states them; a bar that is moved is moved here too."""

    def limits(workload: Workload, words: str) -> dict[str | None, float]:
        return {bar.peer: bar.limit for bar in COMPILED if bar.workload is workload and bar.quantity.words == words}

    assert limits(FORWARD, CPU.words) == {DNSDIST: 1.0, COREDNS: 0.33}
    assert limits(TWO_TAPS, CPU.words) == {DNSDIST: 0.9, COREDNS: 0.3}
    assert limits(CACHE_HIT, CPU.words) == {DNSDIST: 1.0, COREDNS: 0.45}
    assert limits(CACHE_HIT_TAP, CPU.words) == {COREDNS: 0.35}
    for workload in PACED:
        assert limits(workload, "p50") == {DNSDIST: 1.6, COREDNS: 1.0}
        assert limits(workload, "p99") == {COREDNS: 1.0}
    assert {bar.limit for bar in ALWAYS} == {0, 60}


def test_every_bar_is_about_a_workload_that_measures_its_peer() -> None:
    bars: tuple[Bar, ...] = (*COMPILED, *ALWAYS)
    assert all(bar.workload in WORKLOADS for bar in bars)
    assert all(bar.peer is None or bar.peer in bar.workload.peers for bar in bars)


def test_figures_in_sentences_have_the_digits_that_tell_them_from_their_limit() -> None:
    assert [shown(value) for value in (0.334, 1.0, 1.4031, 49.64, 0.0)] == ["0.334", "1", "1.403", "49.6", "0"]
