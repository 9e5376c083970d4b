"""The cache's store: within its size, and what goes when it is full."""

import random
import tracemalloc

import pytest
from dnsproxy_cache.reading import Answer
from dnsproxy_cache.store import ENTRY_OCTETS, RECORD_OCTETS, Store
from hypothesis import given
from hypothesis import strategies as st

KEYS = st.integers(0, 30)
STEPS = st.lists(st.tuples(st.sampled_from(["put", "use", "drop"]), KEYS, st.integers(12, 3000), st.integers(1, 9)))
COST = ENTRY_OCTETS + RECORD_OCTETS + 100  # of what `make_answer` makes by default, with its key


def make_answer(octets: int = 92, life: int = 300) -> Answer:
    return Answer(b"\x07" * octets, (40,) if octets > 44 else (), life, False, None)


def key(number: int) -> bytes:
    return number.to_bytes(8, "big")


def use(store: Store, number: int, now: float = 0.0) -> bool:
    """Ask for a key as a client does; whether it was there."""
    entry = store.get(key(number))
    if entry is not None and now < entry.expires:
        entry.hits += 1
        return True
    store.put(key(number), make_answer(), now)
    return False


@given(STEPS)
def test_the_store_never_exceeds_its_size_and_its_books_balance(steps: list[tuple[str, int, int, int]]) -> None:
    store = Store(8192)
    for now, (what, number, octets, life) in enumerate(steps):
        entry = store.get(key(number))
        if what == "put":
            store.put(key(number), make_answer(octets, life), now)
        elif what == "drop":
            store.drop(key(number))
        elif entry is not None and now < entry.expires:
            entry.hits += 1
            entry.count_down(now)
        assert store.used <= store.size
        queued = [*store.probation, *store.protected]
        assert sorted(one.key for one in queued) == sorted(store.entries)
        assert store.used == sum(one.size for one in queued)
        assert store.probation_size == sum(one.size for one in store.probation)
        assert len(store.traces) == len(store.trace_order)


def test_what_was_put_last_is_found() -> None:
    store = Store(100 * COST)
    for number in range(1000):
        store.put(key(number), make_answer(), 0.0)
        assert store.get(key(number)) is not None
    assert store.evictions == 900


def test_a_scan_does_not_push_out_what_is_used() -> None:
    store = Store(100 * COST)
    for _ in range(3):
        for number in range(50):
            use(store, number)
    for number in range(1000, 10_000):
        store.put(key(number), make_answer(), 0.0)
    assert sum(use(store, number) for number in range(50)) == 50


def test_what_is_not_used_any_more_goes() -> None:
    store = Store(100 * COST)
    for generation in range(3):
        for number in [*range(80)] * 20:
            use(store, generation * 1000 + number)
        assert sum(use(store, generation * 1000 + number) for number in range(80)) == 80


def test_what_comes_back_soon_after_its_eviction_stays() -> None:
    store = Store(100 * COST)
    for number in range(200):
        use(store, number)
    assert not use(store, 60)
    for number in range(1000, 1500):
        use(store, number)
    assert use(store, 60)


def test_it_beats_the_least_recently_used_on_names_that_are_asked_for_as_names_are() -> None:
    chance = random.Random(1)
    weights = [1 / (rank + 1) for rank in range(2000)]
    store, recent = Store(200 * COST), dict[int, None]()
    hits = recent_hits = 0
    for number in chance.choices(range(2000), weights, k=20_000):
        hits += use(store, number)
        recent_hits += number in recent
        recent.pop(number, None)
        recent[number] = None
        if len(recent) > 200:
            del recent[next(iter(recent))]
    assert hits > recent_hits


def test_expired_entries_go_before_used_ones() -> None:
    store = Store(10 * COST)
    for number in range(10):
        store.put(key(number), make_answer(life=1 if number < 5 else 300), 0.0)
        use(store, number)
    for number in range(10, 15):
        store.put(key(number), make_answer(), 2.0)
    assert all(store.get(key(number)) for number in range(5, 15))


def test_stale_entries_are_worth_keeping_for_as_long_as_they_may_be_served() -> None:
    store = Store(2 * COST, stale_s=60.0)
    store.put(key(1), make_answer(life=1), 0.0)
    use(store, 1)
    for number in range(2, 9):
        store.put(key(number), make_answer(), 50.0)
    assert store.get(key(1)) is not None


def test_an_answer_larger_than_the_store_is_not_kept() -> None:
    store = Store(2048)
    store.put(key(1), make_answer(), 0.0)
    store.put(key(1), make_answer(3000), 0.0)
    entry = store.get(key(1))
    assert entry is not None
    assert not entry.wire


def test_queries_that_are_known_are_few_where_the_store_is_small() -> None:
    store = Store(10 * COST)
    use(store, 1)
    entry = store.get(key(1))
    assert entry is not None
    for number in range(1000):
        store.know(key(number), entry)
    assert len(store.known) <= store.size // 512


@pytest.mark.parametrize("octets", [60, 500, 5000])
@pytest.mark.parametrize("records", [1, 20])
def test_memory_is_what_is_counted(octets: int, records: int) -> None:
    store = Store(4 * 2**20)
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for number in range(20_000):
            offsets = tuple(range(300, 300 + 16 * records, 16))
            wire = b"\x07" * max(octets, offsets[-1] + 4)
            answer = Answer(wire, offsets, 300, False, None)
            store.put(b"\3www\7example\3org\0" + key(number), answer, number / 100)
        counted, _ = tracemalloc.get_traced_memory()
        for entry in store.entries.values():
            entry.hits += 1
            entry.count_down(entry.filled_at + 1.5)
            entry.respond(False, False)
            entry.respond(True, False)
        shown, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert 0.7 * store.size < counted - before < 1.3 * store.size
    assert shown - before < 2.5 * store.size
