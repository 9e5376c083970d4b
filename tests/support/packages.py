"""Somebody else's plugin: a package with a dist-info folder and entry points, as pip would have put it on the path."""

import textwrap
from collections.abc import Mapping
from pathlib import Path


def install_package(site: Path, name: str, source: str, plugins: Mapping[str, str]) -> dict[str, str]:
    """Writes the package `name` and registers `plugins` (table name to class); gives the environment that finds it."""
    package = site / name
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(textwrap.dedent(source))
    info = site / f"{name}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    points = "".join(f"{table} = {name}:{class_name}\n" for table, class_name in plugins.items())
    (info / "entry_points.txt").write_text(f"[dnsproxy.plugins]\n{points}")
    return {"PYTHONPATH": str(site)}
