"""Where the time of a query goes, step by step: the proxy's own path in this process, without clients in the way.

    python bench/steps.py [--batch 64] [--write]

Prints a table of microseconds per query. Run it with the Python whose build is meant: an environment's compiled
modules or the checkout's interpreted ones.
"""

import argparse
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from harness.stage import OF_THE_KERNEL, STEPS, Stage
from harness.tables import markdown_row

import dnsproxy

REPEATS = 7  # the least disturbed one counts
QUERIES = 12_800
WARM_UP_QUERIES = 3_200  # more than there are names, so that a cache is full
BATCHES = (64, 1)
RESULTS = Path(__file__).resolve().parent / "results"

TAP = '[[dnstap]]\nsocket = "unix://{folder}/tap{number}.sock"\nfull = true\n{extra}'
WORKLOADS: dict[str, Callable[[str], str]] = {
    "forward": lambda folder: "",
    "forward + two full taps": lambda folder: _taps(folder, 2),
    "cache hit": lambda folder: '[cache]\nsize = "64MiB"\n',
    "cache hit + one full tap": lambda folder: '[cache]\nsize = "64MiB"\n' + _taps(folder, 1),
}

Steps = dict[str, float]


def main() -> int:
    """0: the table was printed."""
    chosen = _parser().parse_args()
    build = "compiled" if dnsproxy.COMPILED else "interpreted"
    lines = [f"dnsproxy {dnsproxy.__version__}, {build}, Python {sys.version.partition(' ')[0]}; µs per query", ""]
    with tempfile.TemporaryDirectory(prefix="dnsproxy-steps-") as folder:
        for batch in chosen.batch or BATCHES:
            turns = max(chosen.queries // batch, 1)
            columns = {name: measure(plugins(folder), batch, turns) for name, plugins in WORKLOADS.items()}
            lines += [*table(f"batches of {batch}", columns), ""]
    print("\n".join(lines))
    if chosen.write:
        chosen.write.mkdir(parents=True, exist_ok=True)
        (chosen.write / f"steps-{build}.md").write_text("\n".join(lines))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--queries", type=int, default=QUERIES, help=f"in each repeat, default {QUERIES}")
    parser.add_argument("--batch", type=int, action="append", help="queries in a batch (repeatable); default: 64 and 1")
    parser.add_argument(
        "--write",
        type=Path,
        nargs="?",
        const=RESULTS,
        metavar="DIR",
        help=f"write steps-BUILD.md, default {RESULTS}",
    )
    return parser


def _taps(folder: str, number: int) -> str:
    extras = ["extra = 'upstream: {/forward/upstream}'\n", *[""] * (number - 1)]
    return "".join(TAP.format(folder=folder, number=index, extra=extra) for index, extra in enumerate(extras))


def measure(plugins: str, batch: int, turns: int) -> Steps:
    """Microseconds per query of each step, in the repeat that was least disturbed."""
    stage = Stage(plugins, batch)
    for _ in range(WARM_UP_QUERIES // batch):
        stage.turn()
    repeats = [_repeat(stage, turns, batch) for _ in range(REPEATS)]
    stage.close()
    return min(repeats, key=lambda steps: sum(steps.values()))


def _repeat(stage: Stage, turns: int, batch: int) -> Steps:
    stage.ledger.clear()
    for _ in range(turns):
        stage.turn()
    return {step: spent / turns / batch / 1000 for step, spent in stage.ledger.spent.items()}


def table(title: str, columns: dict[str, Steps]) -> Sequence[str]:
    """Markdown: a line per step, a column per workload; then the sums."""
    rows = [[step, *(_cell(steps[step]) for steps in columns.values())] for step in STEPS]
    sums = {
        "in all": STEPS,
        "of this, system calls": OF_THE_KERNEL,
        "of this, our own": [step for step in STEPS if step not in OF_THE_KERNEL],
    }
    for words, summed in sums.items():
        rows.append([f"**{words}**", *(_cell(sum(steps[step] for step in summed)) for steps in columns.values())])
    head = [title, *columns]
    return [markdown_row(head), "|" + "---|" * len(head), *(markdown_row(row) for row in rows)]


def _cell(value: float) -> str:
    return f"{value:.2f}" if value else "–"


if __name__ == "__main__":
    sys.exit(main())
