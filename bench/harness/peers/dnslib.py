"""The proxy that comes with dnslib: one query at a time, each parsed and written twice, in Python."""

import os
import subprocess
import sys
from pathlib import Path

from harness import programs
from harness.loopback import HOST
from harness.peers import Site, Tapless
from harness.workloads import DNSLIB

INSTALL_TIMEOUT_S = 60
LOG_NOTHING = "-request,-reply,-truncated,-error"


class Dnslib(Tapless):
    """What a Python programmer finds first; `folder` is where the package is, None for this Python's own."""

    name = DNSLIB

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder

    def version(self) -> str:
        line = programs.first_line([*self._python(), "-c", "import dnslib; print(dnslib.version)"])
        return f"dnslib {line}, Python {sys.version.partition(' ')[0]}"

    def configure(self, site: Site) -> list[str]:
        options = ["--address", HOST, "--port", str(site.port), "--upstream", f"{HOST}:{site.upstream_port}"]
        return [*self._python(), "-m", "dnslib.proxy", *options, f"--log={LOG_NOTHING}"]

    def _python(self) -> list[str]:
        path = [f"PYTHONPATH={self._folder}"] if self._folder else []
        return ["/usr/bin/env", *path, sys.executable, "-B"]


def find(folder: Path) -> Dnslib | str:
    """The package of this Python, or one fetched into a folder; a line that says why there is none."""
    if _imports(None):
        return Dnslib(None)
    target = folder / "dnslib"
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--target", str(target), "dnslib"]
    try:
        subprocess.run(command, capture_output=True, timeout=INSTALL_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        pass  # an index that does not answer is none
    if _imports(target):
        return Dnslib(target)
    return "dnslib is missing: pip install dnslib (the bench tries that by itself, into its scratch folder)"


def _imports(folder: Path | None) -> bool:
    environment = {**os.environ, "PYTHONPATH": str(folder)} if folder else None
    command = [sys.executable, "-c", "import dnslib.proxy"]
    return not subprocess.run(command, capture_output=True, env=environment).returncode
