"""Writes a distribution of third-party plugins that do nothing but pass queries on, as any installer would leave it."""

from pathlib import Path

from harness.workloads import PassThrough

MODULE = "bench_pass_through"
METADATA = f"Metadata-Version: 2.1\nName: {MODULE}\nVersion: 1\n"
HEAD = """\
from dataclasses import dataclass

from dnsproxy.plugin import Plugin, Stage


@dataclass(frozen=True)
class Options:
    pass
"""
PLUGIN = """

class Pass{number}(Plugin):
    stage = Stage.LOCAL
    Config = Options

    {handle}
"""
FUNCTION = "def handle(self, query):\n        return self.next(query)"
COROUTINE = "async def handle(self, query):\n        return await self.next(query)"


def install(folder: Path, plugins: PassThrough) -> Path:
    """Writes module and metadata; the folder belongs on Python's path."""
    site = folder / "third-party"
    metadata = site / f"{MODULE}-1.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text(METADATA)
    entries = (f"pass{number} = {MODULE}:Pass{number}\n" for number in range(plugins.number))
    (metadata / "entry_points.txt").write_text("[dnsproxy.plugins]\n" + "".join(entries))
    (site / f"{MODULE}.py").write_text(source(plugins))
    return site


def source(plugins: PassThrough) -> str:
    """One class per plugin: a plugin takes its place in the chain once."""
    handle = COROUTINE if plugins.coroutine else FUNCTION
    return HEAD + "".join(PLUGIN.format(number=number, handle=handle) for number in range(plugins.number))


def stanzas(plugins: PassThrough) -> str:
    """Their tables in the configuration, which put them into the chain."""
    return "".join(f"[pass{number}]\n" for number in range(plugins.number))
