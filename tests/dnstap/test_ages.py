"""Ages of the oldest of many, known without a time for each."""

from dnsproxy.dnstap.ages import MARKS_MAX, Ages


def test_the_oldest_is_as_old_as_the_last_mark_before_it() -> None:
    ages = Ages()
    ages.mark(0, 10.0)
    ages.mark(3, 20.0)
    ages.mark(5, 30.0)
    assert ages.oldest_s(31.0) == 21.0
    ages.remove(3)
    assert ages.oldest_s(31.0) == 11.0


def test_marks_do_not_pile_up_and_no_age_is_understated_for_that() -> None:
    ages = Ages()
    for second in range(10 * MARKS_MAX):
        ages.mark(second, float(second))
    assert len(ages._marks) <= MARKS_MAX
    now = 10.0 * MARKS_MAX
    assert ages.oldest_s(now) == now
    ages.remove(5 * MARKS_MAX)
    assert now / 2 <= ages.oldest_s(now) < now / 2 + 100


def test_marks_do_not_pile_up_while_nothing_happens() -> None:
    ages = Ages()
    ages.mark(0, 0.0)
    for second in range(100):
        ages.mark(1, float(second))
    assert len(ages._marks) == 2
    assert ages.oldest_s(100.0) == 100.0


def test_what_is_added_before_all_others_is_the_oldest() -> None:
    ages = Ages()
    ages.mark(0, 100.0)
    ages.mark(1, 101.0)
    ages.add_oldest(2, 50.0)
    assert ages.oldest_s(101.0) == 51.0
    ages.remove(2)
    assert ages.oldest_s(101.0) == 1.0
