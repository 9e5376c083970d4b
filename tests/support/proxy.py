"""The proxy as a process of its own: started from a configuration, watched through its log, ended with SIGTERM."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.support.ports import free_port

READY_WITHIN_S = 15.0  # 0.6 s on an idle machine; tests share theirs with others
EXIT_WITHIN_S = 15.0  # `stop` (5 s) and the taps' drain, and patience
COMMAND_WITHIN_S = 20.0
RELOAD_WITHIN_S = 5.0

Status = dict[str, Any]


@dataclass(eq=False)
class Proxy:
    """`dnsproxy --config FILE` on a port of its own; `body` follows a head (`listen`, `admin`) written for it.

    Leaving the `with` block ends the process and checks that it ended well: status 0, no traceback.
    """

    folder: Path
    body: str
    port: int = field(default_factory=free_port)
    listen: Sequence[str] | None = None  # default: 127.0.0.1 and the port
    environment: Mapping[str, str] = field(default_factory=dict)
    prefix: Sequence[str] = ()  # a command that runs ours, such as setpriv
    may_trace: bool = False  # tracebacks in the log are what the test is about

    def __post_init__(self) -> None:
        self.admin = self.folder / f"admin-{self.port}.sock"
        self.config = self.folder / f"proxy-{self.port}.toml"
        self.config.write_text(self._head() + self.body)
        self.log = ""
        self._told = self._crashed = False
        self._grown = threading.Condition()

    def __repr__(self) -> str:
        return f"<Proxy on port {self.port}>"

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._crashed:
            return
        if value is None:
            self.stop()
        else:
            self.kill()
            value.add_note(f"The proxy's log:\n{self.log}")

    def start(self) -> Self:
        """Returns once the proxy says `ready`; AssertionError with its log if it doesn't."""
        self.launch()
        try:
            self.wait_for_log(r"\bready\b", within_s=READY_WITHIN_S)
        except BaseException:
            self.kill()
            raise
        return self

    def launch(self) -> None:
        """Starts the process without waiting for anything."""
        command = [*self.prefix, *dnsproxy_command("--config", str(self.config))]
        self.process = subprocess.Popen(
            command,
            cwd=self.folder,
            env=_environment(self.environment),
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        self._reader = threading.Thread(target=self._read_log, daemon=True)
        self._reader.start()

    def stop(self) -> str:
        """SIGTERM, then the checks; gives the whole log."""
        self.tell_to_stop()
        status = self.wait()
        assert status == 0, f"exit status {status}; the log:\n{self.log}"
        assert self.may_trace or "Traceback" not in self.log, self.log
        return self.log

    def tell_to_stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        """Sends the signal; once only."""
        if not self._told and self.process.poll() is None:
            self.process.send_signal(how)
            self._told = True

    def wait(self, within_s: float = EXIT_WITHIN_S) -> int:
        """The exit status of a proxy that ends by itself, or has been told to."""
        try:
            status = self.process.wait(within_s)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"still running after {within_s} s; the log:\n{self.log}") from None
        self._close_log()
        return status

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        self._close_log()

    def crash(self) -> None:
        """SIGKILL; leaving the `with` block then checks nothing."""
        self._crashed = True
        self.kill()

    def reload(self, body: str | None = None) -> None:
        """SIGHUP, with another body if there is one; returns once it is done."""
        if body is not None:
            self.body = body
            self.config.write_text(self._head() + body)
        before = self.log.count("reload: done")
        self.process.send_signal(signal.SIGHUP)
        with self._grown:
            done = self._grown.wait_for(lambda: self.log.count("reload: done") > before, RELOAD_WITHIN_S)
        assert done, f"no reload within {RELOAD_WITHIN_S} s; the log:\n{self.log}"

    def pause(self) -> None:
        """Stops the process where it stands: what is sent meanwhile waits in the kernel as one batch."""
        self.process.send_signal(signal.SIGSTOP)

    def proceed(self) -> None:
        self.process.send_signal(signal.SIGCONT)

    def wait_for_log(self, pattern: str, *, within_s: float = 5.0) -> re.Match[str]:
        """The first match in the log, once it is there."""
        with self._grown:
            self._grown.wait_for(lambda: re.search(pattern, self.log) or not self._reader.is_alive(), within_s)
        match = re.search(pattern, self.log)
        assert match, f"no {pattern!r} within {within_s} s in the log:\n{self.log}"
        return match

    def status(self) -> Status:
        """What `dnsproxy status --json` says."""
        done = run_dnsproxy("status", "--json", "--admin", str(self.admin), environment=self.environment)
        assert done.returncode == 0, done.stderr
        return dict(json.loads(done.stdout))

    def tap(self, name: str) -> Status:
        """The tap of this name in `status`; its books balance."""
        return tap_named(self.status(), name)

    def wait_for_tap(self, name: str, holds: Callable[[Status], object], what: str, *, within_s: float = 8.0) -> Status:
        """The first state of this tap for which this holds."""
        status = self.wait_for_status(lambda now: holds(tap_named(now, name)), f"{name}: {what}", within_s=within_s)
        return tap_named(status, name)

    def check(self) -> subprocess.CompletedProcess[str]:
        """`dnsproxy status --check`."""
        return run_dnsproxy("status", "--check", "--admin", str(self.admin), environment=self.environment)

    def wait_for_status(self, holds: Callable[[Status], object], what: str, *, within_s: float = 8.0) -> Status:
        """The first status for which this holds."""
        end = time.monotonic() + within_s
        while True:
            status = self.status()
            if holds(status):
                return status
            assert time.monotonic() < end, f"not within {within_s} s: {what}; {json.dumps(status, indent=1)}"
            time.sleep(0.05)

    @property
    def tap_lines(self) -> dict[str, dict[str, int]]:
        """What the proxy logged about each tap at its end: name to counters."""
        found = re.findall(r"(\S+?):? (offered=\d+ sent=\d+ queued=\d+ dropped=\d+)", self.log)
        return {name: {key: int(n) for key, n in re.findall(r"(\w+)=(\d+)", counters)} for name, counters in found}

    def resident_kib(self) -> int:
        """Memory in use, from the kernel's books."""
        text = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.findall(r"VmRSS:\s+(\d+)", text)[0])

    def open_files(self) -> int:
        return sum(1 for _ in Path(f"/proc/{self.process.pid}/fd").iterdir())

    def _head(self) -> str:
        listen = [f"127.0.0.1:{self.port}"] if self.listen is None else list(self.listen)
        return f"listen = {json.dumps(listen)}\nadmin = {json.dumps(str(self.admin))}\n"

    def _read_log(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            with self._grown:
                self.log += line.decode(errors="replace")
                self._grown.notify_all()
        with self._grown:
            self._grown.notify_all()

    def _close_log(self) -> None:
        self._reader.join(5)
        assert self.process.stderr is not None
        self.process.stderr.close()


def dnsproxy_command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "dnsproxy", *arguments]


def run_dnsproxy(
    *arguments: str, environment: Mapping[str, str] | None = None, folder: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """One of the short commands, to its end. The folder is never the checkout: it would be imported from there."""
    return subprocess.run(
        dnsproxy_command(*arguments),
        cwd=folder or "/",
        env=_environment(environment or {}),
        check=False,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=COMMAND_WITHIN_S,
    )


def books(status: Status) -> tuple[int, int]:
    """What an unfiltered tap must have been offered, and what it was: equal when nothing is in flight."""
    both_sides = [*status["listeners"], *status["upstreams"]]
    return sum(one["queries"] + one["responses"] for one in both_sides), status["taps"][0]["offered"]


def tap_named(status: Status, name: str) -> Status:
    """One tap's part of a status; AssertionError when its books don't balance."""
    (tap,) = [one for one in status["taps"] if one["name"] == name]
    assert tap_balances(tap), tap
    return dict(tap)


def config_errors(folder: Path, body: str, environment: Mapping[str, str] | None = None) -> list[str]:
    """What `--check` says about a file that it refuses, without the file's name: a line for each error."""
    path = folder / "refused.toml"
    path.write_text(f"listen = [{json.dumps(f'127.0.0.1:{free_port()}')}]\nadmin = false\n{body}")
    done = run_dnsproxy("--config", str(path), "--check", environment=environment)
    assert done.returncode == 2, f"status {done.returncode}: {done.stdout}{done.stderr}"
    return [line.removeprefix(f"{path}:") for line in done.stderr.splitlines()]


def tap_balances(tap: Status) -> bool:
    return bool(tap["offered"] == tap["sent"] + tap["queued"] + sum(tap["dropped"].values()))


def _environment(more: Mapping[str, str]) -> dict[str, str]:
    """Ours, with `more`; a PYTHONPATH of both is joined."""
    path = os.pathsep.join(filter(None, (more.get("PYTHONPATH"), os.environ.get("PYTHONPATH"))))
    return {**os.environ, **more, "PYTHONUNBUFFERED": "1", **({"PYTHONPATH": path} if path else {})}
