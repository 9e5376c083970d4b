"""Shows where the proxy spends its time under load: by Python function, or with perf by C function and kernel."""

import argparse
import shlex
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

from harness import counters, load, programs, upstream
from harness.children import Children
from harness.errors import BenchError
from harness.measure import Bench, Effort, Stand, running
from harness.peers.dnsproxy import Dnsproxy
from harness.workloads import WORKLOADS, Workload

SAMPLER = Path(__file__).resolve().parent / "harness" / "sampler.py"
SAMPLES_PER_S = 1999  # not a divisor of any timer's rate
LINES = 45
SYSTEM_CALL = "__x64_sys_"  # how the kernel's symbols for them begin


def main() -> int:
    """0: a table was printed; 2: it could not be made."""
    chosen = _parser().parse_args()
    workload = next(workload for workload in WORKLOADS if workload.name == chosen.workload)
    try:
        print(_by_function_of_c(chosen, workload) if chosen.perf else _by_function_of_python(chosen, workload))
    except BenchError as exc:
        print(f"hotspots: {exc}", file=sys.stderr)
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--proxy", type=shlex.split, default=[str(Path(sys.executable).with_name("dnsproxy"))])
    options.add_argument("--workload", choices=[workload.name for workload in WORKLOADS], default=WORKLOADS[0].name)
    options.add_argument("--seconds", type=float, default=5.0)
    options.add_argument("--perf", action="store_true", help="by C function and kernel, with perf record")
    return options


def _by_function_of_python(chosen: argparse.Namespace, workload: Workload) -> str:
    """Sampled from inside: knows Python's functions; a compiled one is counted as its caller."""
    *interpreter, script = chosen.proxy
    with tempfile.TemporaryDirectory(prefix="dnsproxy-bench-") as folder:
        output = Path(folder) / "samples.txt"
        python = interpreter or [str(Path(script).with_name("python"))]
        _loaded(Dnsproxy([*python, "-P", str(SAMPLER), str(output), script]), workload, chosen.seconds)
        return output.read_text()


def _by_function_of_c(chosen: argparse.Namespace, workload: Workload) -> str:
    """Sampled by perf: knows the kernel, the interpreter and compiled modules, not Python's functions."""
    perf = programs.require("perf")
    with tempfile.TemporaryDirectory(prefix="dnsproxy-bench-") as folder:
        data = f"{folder}/perf.data"
        _loaded(Dnsproxy(chosen.proxy), workload, chosen.seconds, record=[perf, "record", "-q", "-g", "-o", data])
        show = [perf, "report", "-i", data, "--stdio", "-q", "--no-children", "-g", "none"]
        by_file = _output([*show, "--sort", "dso"])
        by_symbol = _output([*show, "--sort", "dso,symbol"])
        below = [perf, "report", "-i", data, "--stdio", "-q", "--children", "-g", "none", "--sort", "symbol"]
        by_call = [line for line in _output(below) if SYSTEM_CALL in line]
    return "\n".join([*by_file[:10], "", "by system call, all below it included", *by_call, "", *by_symbol[:LINES]])


def _output(command: list[str]) -> list[str]:
    done = subprocess.run(command, capture_output=True, text=True)
    return [line.rstrip() for line in done.stdout.splitlines() if line.strip()]


def _loaded(proxy: Dnsproxy, workload: Workload, seconds: float, record: list[str] | None = None) -> None:
    """Runs the proxy under load, and `record` beside it."""
    effort = Effort(rounds=1, seconds=seconds, warm_up_s=0.5)
    with tempfile.TemporaryDirectory(prefix="dnsproxy-bench-") as name, Children(Path(name)) as children:
        bench = Bench(Path(name), upstream.start(children, Path(name)), effort)
        with running(bench, proxy, workload) as stand:
            questions = upstream.question_file(bench.folder, workload.questions)
            load.warm_up(workload, stand.site.port, questions, effort.warm_up_s)
            recorder = _record(record, stand, seconds)
            done = load.run(workload, stand.site.port, questions, seconds)
            recorder.join()
    print(f"{proxy.name}, {workload.title}: {done.per_second:.0f} queries/s, {done.lost:.2%} lost\n")


def _record(record: list[str] | None, stand: Stand, seconds: float) -> threading.Thread:
    """Records for as long as the load lasts."""
    processes = ",".join(map(str, counters.family(stand.pid)))
    command = [*(record or []), "-F", str(SAMPLES_PER_S), "-p", processes, "--", "sleep", f"{seconds:g}"]
    thread = threading.Thread(target=_output, args=([*command] if record else ["true"],))
    thread.start()
    return thread


if __name__ == "__main__":
    sys.exit(main())
