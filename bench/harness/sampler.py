"""Runs a Python program and samples its stacks by processor time: `sampler.py OUTPUT SCRIPT ARGUMENT...`."""

import runpy
import signal
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import CodeType, FrameType

INTERVAL_S = 0.002  # of processor time; the samples then cost less than 2 % of it
LINES = 30  # of each table

own: Counter[CodeType] = Counter()  # the function that ran
below: Counter[CodeType] = Counter()  # every function on the stack, once


def sample(_signal: int, frame: FrameType | None) -> None:
    """Counts one stack."""
    if frame is not None:
        own[frame.f_code] += 1
    below.update(set(_stack(frame)))


def tables() -> str:
    """Both counters as shares of all samples."""
    total = max(own.total(), 1)
    lines = [f"{total} samples of {INTERVAL_S * 1000:g} ms"]
    for title, counts in (("in the function itself", own), ("in the function or below it", below)):
        lines += ["", title, *(f"{count / total:7.1%}  {_where(code)}" for code, count in counts.most_common(LINES))]
    return "\n".join(lines) + "\n"


def _stack(frame: FrameType | None) -> Iterator[CodeType]:
    while frame is not None:
        yield frame.f_code
        frame = frame.f_back


def _where(code: CodeType) -> str:
    path = Path(code.co_filename)
    return f"{code.co_qualname}  {path.parent.name}/{path.name}:{code.co_firstlineno}"


def main() -> None:
    output, script = Path(sys.argv[1]), sys.argv[2]
    sys.argv = sys.argv[2:]
    signal.signal(signal.SIGPROF, sample)
    signal.siginterrupt(signal.SIGPROF, False)
    signal.setitimer(signal.ITIMER_PROF, INTERVAL_S, INTERVAL_S)
    try:
        runpy.run_path(script, run_name="__main__")
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        output.write_text(tables())


if __name__ == "__main__":
    main()
