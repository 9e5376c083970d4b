"""Compiles the hot modules with mypyc while a wheel is built: all of them or none, outside the checkout.

`DNSPROXY_COMPILE` says whether: `0` never, `1` (default) where a C compiler and Python's headers are present and
everything compiles, `require` or the build fails. Editable installations are never compiled: a compiled copy
would hide every edit. The modules are listed in pyproject.toml, under this hook.
"""

import json
import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

MYPYC = ["mypy[mypyc]==2.4.*", "setuptools>=75"]  # mypyc's output changes with its version; this one is tested
SOURCE_ROOTS = {"dnsproxy": "dnsproxy", "plugins": ""}  # where each stands in the checkout, and in the wheel

# Each is compiled as one file of C, other modules as another: what works for every query stays together (dnstap in one
# of its own would cost it 1 % more), and the compiler has less to do, with two processors at once.
GROUPS = ("dnsproxy/tap/", "dnsproxy/upstream/editing/")

# Runs in a process of its own, because mypyc ends the process when it finds an error.
BUILD = """
import json, os, sys
from mypyc.build import mypycify
from setuptools import setup
output, groups = sys.argv[1], json.loads(sys.argv[2])
modules = [module for members in groups.values() for module in members]
options = ["--follow-imports=silent", "--ignore-missing-imports"]
extensions = mypycify([*options, *modules], separate=[(members, name) for name, members in groups.items()])
extensions.sort(key=lambda extension: sum(map(os.path.getsize, extension.sources)), reverse=True)  # the longest first
parallel = str(len(os.sched_getaffinity(0)))
script = ["build_ext", "--parallel", parallel, "--build-lib", output]
setup(name="dnsproxy", packages=[], ext_modules=extensions, script_args=script)
"""


class CompileHook(BuildHookInterface):  # type: ignore[type-arg]
    def dependencies(self) -> list[str]:
        return MYPYC if self._is_wanted("standard") else []

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if not self._is_wanted(version):
            return
        self._folder = tempfile.TemporaryDirectory(prefix="dnsproxy-compile-")  # lives until the wheel is written
        extensions = self._compile(Path(self._folder.name))
        build_data["force_include"].update(extensions)
        if extensions:
            build_data["pure_python"] = False
            build_data["infer_tag"] = True

    def _is_wanted(self, version: str) -> bool:
        mode = _mode()
        if mode == "0" or version == "editable" or not self.config["modules"]:
            return False
        return mode == "require" or _can_compile()

    def _compile(self, folder: Path) -> dict[str, str]:
        """Every extension built, by its path in the wheel; none at all if one of them fails."""
        for source, target in SOURCE_ROOTS.items():
            shutil.copytree(Path(self.root, source), folder / "source" / target, dirs_exist_ok=True)
        output = folder / "built"
        modules = [module.removeprefix("plugins/") for module in self.config["modules"]]
        command = [sys.executable, "-c", BUILD, str(output), json.dumps(_groups(modules))]
        done = subprocess.run(command, cwd=folder / "source")
        if done.returncode:
            return self._failed()
        return {str(path): str(path.relative_to(output)) for path in output.rglob("*") if path.is_file()}

    def _failed(self) -> dict[str, str]:
        if _mode() == "require":
            raise SystemExit("mypyc could not compile the core, and DNSPROXY_COMPILE=require")
        self.app.display_warning("mypyc could not compile the core; this build will be interpreted")
        return {}


def _groups(modules: list[str]) -> dict[str, list[str]]:
    """Modules by the name of the group that they are compiled in."""
    groups: dict[str, list[str]] = {}
    for module in modules:
        folder = next((folder for folder in GROUPS if module.startswith(folder)), "dnsproxy/")
        groups.setdefault(folder.rstrip("/").replace("/", "_"), []).append(module)
    return groups


def _mode() -> str:
    mode = os.environ.get("DNSPROXY_COMPILE") or "1"
    if mode not in {"0", "1", "require"}:
        raise SystemExit(f"DNSPROXY_COMPILE is {mode!r}; expected 0, 1 or require")
    return mode


def _can_compile() -> bool:
    compiler = shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc")[0]
    return bool(shutil.which(compiler)) and Path(sysconfig.get_path("include"), "Python.h").is_file()
