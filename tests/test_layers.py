"""A module imports only what stands below it; plugins import the core, never each other; the core names no plugin."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
CORE = ROOT / "dnsproxy"
PLUGINS = ROOT / "plugins"

# Bottom to top; a package is one entry, and inside it there is no circle. `import` under TYPE_CHECKING is free.
ORDER = """
    errors wire stream unix_listener text_table toml_lines options pem listen_address activation
    address subnet shape template values dns_words readers convert config_errors
    datagram message metric
    timers flight turns driver
    dnstap
    plugin upstream
    settings discovery assemble config status
    links chain intake leases listeners sockets generation
    crowd admin admin_client metrics_http metrics metrics_server server
    workers
    tap
    plugin_help cli __main__
    testing
""".split()  # noqa: SIM905  a line for each layer

MODULES = sorted(path for path in CORE.rglob("*.py") if not path.name.endswith("_pb2.py") and path.parent != CORE)
MODULES += sorted(path for path in CORE.glob("*.py") if path.name != "__init__.py")


def dotted(path: Path) -> str:
    """`dnsproxy.dnstap.events` for dnsproxy/dnstap/events.py."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def nodes(tree: ast.AST) -> Iterator[ast.AST]:
    """Everything but what only type checkers see."""
    for node in ast.iter_child_nodes(tree):
        if not is_type_checking(node):
            yield node
            yield from nodes(node)


def imports(path: Path) -> set[str]:
    """Dotted names that a module imports when it runs; `from a import b` is both `a` and `a.b`."""
    found: set[str] = set()
    for node in nodes(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative imports hide what is imported"
            assert node.module is not None
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def layers(path: Path) -> set[str]:
    """The entries of ORDER that a module imports."""
    names = {name.split(".")[1] for name in imports(path) if name.startswith("dnsproxy.")}
    return {name for name in names if (CORE / f"{name}.py").exists() or (CORE / name).is_dir()}


def test_every_module_has_its_place() -> None:
    there = {path.relative_to(CORE).parts[0].removesuffix(".py") for path in MODULES}
    assert there == set(ORDER)
    assert len(ORDER) == len(set(ORDER))


@pytest.mark.parametrize("path", MODULES, ids=dotted)
def test_a_module_imports_only_what_stands_below_it(path: Path) -> None:
    own = path.relative_to(CORE).parts[0].removesuffix(".py")
    above = {name for name in layers(path) - {own} if ORDER.index(name) > ORDER.index(own)}
    assert above == set()


@pytest.mark.parametrize("package", ["dnstap", "upstream", "listeners", "workers", "tap"])
def test_a_package_has_no_circle(package: str) -> None:
    modules = {dotted(path): path for path in (CORE / package).rglob("*.py") if path.name != "__init__.py"}
    below = {name: imports(path) & set(modules) - {name} for name, path in modules.items()}
    while below:
        bottom = {name for name, needed in below.items() if not needed & set(below)}
        assert bottom, f"a circle among {sorted(below)}"
        below = {name: needed for name, needed in below.items() if name not in bottom}


PLUGIN_PACKAGES = sorted(path.name for path in PLUGINS.glob("dnsproxy_*") if path.is_dir())


@pytest.mark.parametrize("package", PLUGIN_PACKAGES)
def test_a_plugin_imports_no_other_plugin(package: str) -> None:
    others = set(PLUGIN_PACKAGES) - {package}
    for path in (PLUGINS / package).rglob("*.py"):
        assert not {name.split(".")[0] for name in imports(path)} & others


@pytest.mark.parametrize("path", sorted(CORE.rglob("*.py")), ids=dotted)
def test_the_core_names_no_plugin(path: Path) -> None:
    text = path.read_text()
    assert [package for package in PLUGIN_PACKAGES if package in text] == []


def test_nothing_named_plugins_is_ever_installed() -> None:
    assert PLUGIN_PACKAGES
    assert not (PLUGINS / "__init__.py").exists()
    assert not list(PLUGINS.glob("*.py"))
