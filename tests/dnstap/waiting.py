"""Waiting for what no event announces."""

from collections.abc import Callable

import trio

WITHIN_S = 30.0  # of the test's clock, which mostly jumps


async def until(holds: Callable[[], object]) -> float:
    """Until it holds; how long it took."""
    began = trio.current_time()
    with trio.fail_after(WITHIN_S):
        while not holds():  # noqa: ASYNC110  what is tested has no event for it
            await trio.sleep(0.01)
    return trio.current_time() - began
