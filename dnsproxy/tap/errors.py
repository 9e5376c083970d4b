"""How a command of `dnsproxy tap` ends early: each error is one line on standard error and an exit status."""

from __future__ import annotations


class WrongUsage(Exception):
    """The command line asks for what cannot be done (status 2)."""


class MissingModule(WrongUsage):
    """What was asked for takes Python modules that are not installed; the text has the command that installs them."""

    def __init__(self, what: str, *modules: str) -> None:
        super().__init__(f"{what} takes what is not installed: pip install {' '.join(modules)}")


class Failure(Exception):
    """Something went wrong while the command was running (status 1)."""


class Stopped(BaseException):
    """A signal ends the command: status 128 and its number. Only whoever cleans up and the command line take it."""

    def __init__(self, signal: int) -> None:
        super().__init__(signal)
        self.signal = signal
