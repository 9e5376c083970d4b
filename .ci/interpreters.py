"""Finds the Pythons of this machine and ranks them: which one should run the proxy."""

import json
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

OLDEST = (3, 11)
SYSTEM = "/usr/bin/python3"  # Debian's is an optimised build
NAMES = ("python3", "python3.14", "python3.13", "python3.12", "python3.11")
PROBE_TIMEOUT_S = 20  # far beyond a slow disk's first import, so that a hanging wrapper does not hang us
WORTH_A_CHANGE = 1.25  # an unoptimised build costs 1.5 to 2 times; below this it may be noise or a release's difference

# Configure flags do not tell: Debian's Python is optimised and its flags say nothing of it. So it is measured.
PROBE = """
import importlib, json, os, shlex, shutil, sys, sysconfig, time

def importable(name):
    try:
        importlib.import_module(name)
    except Exception:
        return False
    return True

class Message:
    __slots__ = ("id", "wire")
    def __init__(self, id, wire):
        self.id, self.wire = id, wire
    def octets(self):
        return len(self.wire) if self.id & 1 else self.id

def work():
    seen, total = {}, 0
    for number in range(80_000):
        message = Message(number, b"".join((b"abc", number.to_bytes(4, "big"))))
        seen[message.wire[3:5]] = message
        total += message.octets()
    return total

def seconds():
    start = time.process_time()
    work()
    return time.process_time() - start

compiler = shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc")[0]
print(json.dumps({
    "executable": getattr(sys, "_base_executable", "") or sys.executable,
    "version": list(sys.version_info[:3]),
    "lacks": [name for name in ("ssl", "ctypes", "sqlite3") if not importable(name)],
    "compiler": shutil.which(compiler) or "",
    "headers": os.path.join(sysconfig.get_path("include"), "Python.h"),
    "seconds": min(seconds() for _ in range(3)) if sys.version_info >= (3, 11) else 0,
}))
"""


@dataclass(frozen=True)
class Interpreter:
    """One Python: `executable` is the real one behind wrappers and environments, `seconds` what a fixed loop took."""

    executable: str
    version: tuple[int, ...]
    lacks: tuple[str, ...]
    compiler: str
    headers: str
    seconds: float

    def __str__(self) -> str:
        return f"{self.executable} (Python {'.'.join(map(str, self.version))})"

    @property
    def is_usable(self) -> bool:
        return self.version >= OLDEST and "ssl" not in self.lacks  # trio and pip both need ssl


def asked_for() -> Interpreter | None:
    """The Python that `$PYTHON` names, if it is fit for use."""
    python = probe(os.environ["PYTHON"]) if os.environ.get("PYTHON") else None
    return python if python is not None and python.is_usable else None


def ranked() -> list[Interpreter]:
    """Every usable Python, the best first: the one asked for, then complete ones in the order found or by speed."""
    asked = asked_for()
    found = [python for python in _distinct() if python.is_usable]
    complete = [python for python in found if not python.lacks]
    best_first = _fastest_first(complete) + _fastest_first([python for python in found if python.lacks])
    if asked is None:
        return best_first
    return [asked, *(other for other in best_first if other.executable != asked.executable)]


def _fastest_first(found: list[Interpreter]) -> list[Interpreter]:
    if not found:
        return []
    best = found[0]
    for python in found[1:]:
        if best.seconds > python.seconds * WORTH_A_CHANGE:
            best = python
    return [best] + [python for python in found if python is not best]


def _distinct() -> Iterator[Interpreter]:
    seen: set[str] = set()
    for path in _paths():
        python = probe(path)
        if python is not None and os.path.realpath(python.executable) not in seen:
            seen.add(os.path.realpath(python.executable))
            yield python


def _paths() -> Iterator[str]:
    """The system's Python, those on the PATH, and pyenv's, which its shims may hide."""
    yield SYSTEM
    folders = [Path(folder) for folder in os.environ.get("PATH", "").split(os.pathsep) if folder]
    yield from (str(folder / name) for name in NAMES for folder in folders if (folder / name).exists())
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    yield from sorted(map(str, pyenv.glob("versions/*/bin/python3")), reverse=True)


def probe(path: str) -> Interpreter | None:
    command = [path, "-I", "-B", "-c", PROBE]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=PROBE_TIMEOUT_S, check=True)
        answer = json.loads(done.stdout)
    except (OSError, ValueError, subprocess.SubprocessError):
        return None
    return Interpreter(**{**answer, "version": tuple(answer["version"]), "lacks": tuple(answer["lacks"])})
