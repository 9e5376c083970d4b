"""Makes the project's environments and keeps them up to date; `make setup`, `make dev` and `make test` come here."""

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from interpreters import Interpreter, asked_for, probe, ranked

ROOT = Path(__file__).resolve().parent.parent
HOOK = ROOT / ".ci" / "compile_hook.py"
STAMP = "dnsproxy-setup.json"
CANNOT_COMPILE = 3  # exit status: nothing went wrong, but there is no compiled build here


@dataclass(frozen=True)
class Environment:
    """One folder of its own; `compile` is DNSPROXY_COMPILE for its build, None for what the user says."""

    name: str
    install: tuple[str, ...]
    compile: str | None

    @property
    def folder(self) -> Path:
        return ROOT / self.name

    @property
    def python(self) -> Path:
        return self.folder / "bin" / "python"

    @property
    def is_editable(self) -> bool:
        return "-e" in self.install

    @property
    def compile_mode(self) -> str:
        return self.compile or os.environ.get("DNSPROXY_COMPILE") or "1"


ENVIRONMENTS = {
    "run": Environment(".venv", (".[all]",), compile=None),
    "dev": Environment(".venv-dev", ("-e", ".[dev]"), compile="0"),
    "test": Environment(".venv-test", (".[test]",), compile="0"),
    "compiled": Environment(".venv-test-compiled", (".[test]",), compile="require"),
}


class SetupError(Exception):
    """The environment cannot be made; the text says why and what to do."""


def main(kind: str) -> int:
    environment = ENVIRONMENTS[kind]
    try:
        with _one_at_a_time(kind):
            return _ensure(environment)
    except SetupError as error:
        say(str(error))
        return 1
    except KeyboardInterrupt:
        say("interrupted; the next run begins again where this one stopped")
        return 130


def _ensure(environment: Environment) -> int:
    stamp = _read_stamp(environment)
    if stamp.get("fingerprint") == _fingerprint(environment, stamp):
        say(f"{stamp['summary']} (up to date)")
    elif environment.compile == "require" and (obstacle := _obstacle_to_compiling()):
        say(f"no compiled build to test: {obstacle}")
        return CANNOT_COMPILE
    else:
        _bring_up_to_date(environment)
    return 0


def say(line: str) -> None:
    print(f"setup: {line}", file=sys.stderr, flush=True)


def _bring_up_to_date(environment: Environment) -> None:
    (environment.folder / STAMP).unlink(missing_ok=True)
    python = _kept(environment) or _make(environment)
    _install(environment, python, environment.compile_mode)
    try:
        version = _version(environment)
    except SetupError:
        if environment.compile_mode != "1":
            raise
        say("the compiled build does not start; installing the interpreted one")
        _install(environment, python, "0")
        version = _version(environment)
    summary = f"{environment.name} runs {python}; {_account(version, environment, python)}"
    stamp = {"summary": summary, "compiler": python.compiler, "headers": python.headers}
    stamp["asked"] = os.environ.get("PYTHON", "")
    stamp["fingerprint"] = _fingerprint(environment, stamp)
    (environment.folder / STAMP).write_text(json.dumps(stamp))
    say(summary)


# What is there already


@contextmanager
def _one_at_a_time(kind: str) -> Iterator[None]:
    """Two environments may be made together, but none of them twice: an octet of a file is locked for each."""
    octet = list(ENVIRONMENTS).index(kind)
    with (ROOT / "pyproject.toml").open("r+b") as handle:  # locking needs a file open for writing, and writes nothing
        try:
            fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, octet)
        except OSError:
            say("waiting for another set-up of this environment to end")
            fcntl.lockf(handle, fcntl.LOCK_EX, 1, octet)
        yield


def _read_stamp(environment: Environment) -> dict[str, str]:
    try:
        stamp = json.loads((environment.folder / STAMP).read_text())
    except (OSError, ValueError):
        return {}
    return stamp if environment.python.exists() and isinstance(stamp, dict) else {}


def _fingerprint(environment: Environment, stamp: dict[str, str]) -> str:
    """Changes with what the installed copy was made from: settings, sources, and whether it could be compiled."""
    parts = [environment.compile_mode, _asked(stamp), str(ROOT), os.path.realpath(environment.python)]
    parts += [str(Path(stamp.get(key, "")).is_file()) for key in ("compiler", "headers")]
    parts += [(ROOT / "pyproject.toml").read_text(), HOOK.read_text()]
    parts += [] if environment.is_editable else _sources()
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def _sources() -> list[str]:
    files = [path for root in ("dnsproxy", "plugins") for path in (ROOT / root).rglob("*") if path.is_file()]
    wanted = sorted(path for path in files if "__pycache__" not in path.parts)
    return [f"{path} {path.stat().st_size} {path.stat().st_mtime_ns}" for path in wanted]


def _kept(environment: Environment) -> Interpreter | None:
    """The environment's own Python if it is fit for use, so that only the project is installed anew."""
    python = probe(str(environment.python)) if environment.python.exists() else None
    if python is None or not python.is_usable or not _has_pip(environment):
        return None
    asked = asked_for()
    return python if asked is None or _is_same(asked, python) else None


def _is_same(one: Interpreter, other: Interpreter) -> bool:
    return os.path.realpath(one.executable) == os.path.realpath(other.executable)


def _asked(stamp: dict[str, str]) -> str:
    """`$PYTHON`; while it is not set, whatever it was when the environment was made is as good."""
    return os.environ.get("PYTHON") or stamp.get("asked", "")


def _has_pip(environment: Environment) -> bool:
    return _succeeds([str(environment.python), "-m", "pip", "--version"])


# Making one


def _make(environment: Environment) -> Interpreter:
    candidates = ranked()
    if os.environ.get("PYTHON") and not asked_for():
        say(f"PYTHON={os.environ['PYTHON']} is not a Python 3.11 or newer that works; looking for others")
    for python in candidates:
        for way in (_by_venv, _by_another_pip, _by_virtualenv):
            shutil.rmtree(environment.folder, ignore_errors=True)
            if way(environment, python, candidates) and _has_pip(environment):
                return python
        say(f"{python} cannot make an environment; trying the next one")
    raise SetupError(
        "no Python 3.11 or newer that can make an environment; looked at "
        f"{', '.join(map(str, candidates)) or 'none'}; on Debian: apt-get install python3 python3-venv"
    )


def _by_venv(environment: Environment, python: Interpreter, _others: list[Interpreter]) -> bool:
    say(f"making {environment.name} with {python}")
    return _succeeds([python.executable, "-m", "venv", str(environment.folder)])


def _by_another_pip(environment: Environment, python: Interpreter, others: list[Interpreter]) -> bool:
    say(f"{python.executable} has no ensurepip; looking for another pip")
    if not _succeeds([python.executable, "-m", "venv", "--without-pip", str(environment.folder)]):
        return False
    pips = [[other.executable, "-m", "pip"] for other in others] + [["pip3"], ["pip"]]
    return any(_succeeds([*pip, "--python", str(environment.python), "install", "pip"]) for pip in pips)


def _by_virtualenv(environment: Environment, python: Interpreter, others: list[Interpreter]) -> bool:
    tools = [[other.executable, "-m", "virtualenv"] for other in others] + [["virtualenv"]]
    return any(_succeeds([*tool, "-p", python.executable, str(environment.folder)]) for tool in tools)


def _install(environment: Environment, python: Interpreter, compile_mode: str) -> None:
    say(f"installing dnsproxy and what it needs into {environment.name} (a minute when nothing is cached)")
    command = [str(environment.python), "-m", "pip", "install", *environment.install]
    if subprocess.run(command, cwd=ROOT, env=_clean_environ() | {"DNSPROXY_COMPILE": compile_mode}).returncode:
        raise SetupError(f"pip, run by {python}, could not install the project; its reasons are above")


# What became of it


def _version(environment: Environment) -> str:
    command = [str(environment.folder / "bin" / "dnsproxy"), "--version"]
    done = subprocess.run(command, capture_output=True, text=True, env=_clean_environ())
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no output"])[-1]
        raise SetupError(f"installed, but `dnsproxy --version` fails: {last}")
    return done.stdout.strip()


def _account(version: str, environment: Environment, python: Interpreter) -> str:
    if environment.is_editable or "interpreted" not in version:
        return version
    return f"{version}: {_why_interpreted(environment.compile_mode, python)}"


def _why_interpreted(compile_mode: str, python: Interpreter) -> str:
    if compile_mode == "0":
        return "DNSPROXY_COMPILE=0"
    return _obstacle(python) or "compiling failed, DNSPROXY_COMPILE=require make setup shows why"


def _obstacle_to_compiling() -> str:
    """Why none of the interpreters here can; empty when one of them can, or when the lack of any is told elsewhere."""
    obstacles = [_obstacle(python) for python in ranked()]
    return next((obstacle for obstacle in obstacles if obstacle), "") if all(obstacles) else ""


def _obstacle(python: Interpreter) -> str:
    if not modules_to_compile():
        return "this version has no modules to compile"
    if not python.compiler:
        return "no C compiler here"
    if not Path(python.headers).exists():
        return f"{python.headers} is missing (on Debian: apt-get install python3-dev)"
    return ""


def modules_to_compile() -> list[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    modules: list[str] = project["tool"]["hatch"]["build"]["targets"]["wheel"]["hooks"]["custom"]["modules"]
    return modules


def _succeeds(command: list[str]) -> bool:
    try:
        return subprocess.run(command, capture_output=True, cwd=ROOT, env=_clean_environ()).returncode == 0
    except OSError:
        return False


def _clean_environ() -> dict[str, str]:
    """The user's settings without what makes Python or pip look or install elsewhere, or write into the checkout."""
    elsewhere = {"PYTHONHOME", "PYTHONPATH", "PIP_TARGET", "PIP_PREFIX", "VIRTUAL_ENV", "__PYVENV_LAUNCHER__"}
    kept = {key: value for key, value in os.environ.items() if key not in elsewhere}
    return kept | {"PIP_USER": "0", "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PYTHONDONTWRITEBYTECODE": "1"}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
