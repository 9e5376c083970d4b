"""The interpreted twin of a compiled proxy: the same installation, its modules copied without what was compiled."""

import shutil
import subprocess
from pathlib import Path

from harness.errors import BenchError
from harness.peers.dnsproxy import Dnsproxy

DISTRIBUTION = "dnsproxy-tap"
COMPILED_SUFFIXES = (".so", ".pyd", ".pyc")

# Asked of the proxy's own Python: each file of the distribution, where it is and where it belongs.
LIST_FILES = f"""
from importlib.metadata import files
for file in files({DISTRIBUTION!r}) or ():
    if ".." not in file.parts and file.locate().is_file():
        print(file.locate(), file, sep="\\t")
"""


def interpreted_twin(proxy: Dnsproxy, folder: Path) -> Dnsproxy:
    """Raises BenchError if the installation cannot be copied, as an editable one cannot."""
    listing = subprocess.run([str(_interpreter(proxy)), "-c", LIST_FILES], capture_output=True, text=True)
    for line in listing.stdout.splitlines():
        source, target = line.split("\t")
        if not source.endswith(COMPILED_SUFFIXES):
            (folder / target).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, folder / target)
    twin = Dnsproxy(proxy.command, python_path=[folder])
    if twin.build != "interpreted":
        raise BenchError(
            f"no interpreted twin of {proxy.name} could be made: {listing.stderr.strip() or twin.version()}"
        )
    return twin


def _interpreter(proxy: Dnsproxy) -> Path:
    """The Python beside the command, as in every virtual environment."""
    return Path(proxy.command[0]).with_name("python")
