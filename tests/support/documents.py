"""The project's documents: their code blocks and links, and the packages that the plugin guide describes."""

import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.support.packages import install_package

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "README.md"
GUIDE = ROOT / "docs" / "plugins.md"
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("plugins/*/README.md")])

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_PATH = re.compile(r"# ([\w./-]+\.(?:py|toml))\n")
_LINK = re.compile(r"\[[^\]\n]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)
_PLUGIN = re.compile(r"^class (\w+)\((?:Plugin|Observer)\b", re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """A fenced block; `path` is what its first line, a comment, calls it, or "" if it does not."""

    document: Path
    line: int
    language: str
    text: str

    @property
    def path(self) -> str:
        match = _PATH.match(self.text)
        return match[1] if match else ""

    def __str__(self) -> str:
        return f"{self.document.relative_to(ROOT)}:{self.line}"


def blocks(document: Path) -> list[Block]:
    """All fenced blocks, in order."""
    text = document.read_text()
    return [Block(document, text.count("\n", 0, one.start()) + 2, one[1], one[2]) for one in _FENCE.finditer(text)]


def named_block(document: Path, path: str) -> Block:
    """The block whose first line is a comment with this path."""
    (found,) = [block for block in blocks(document) if block.path == path]
    return found


def configurations() -> list[Block]:
    """Every TOML block but those that are a file of another kind."""
    found = [block for document in DOCUMENTS for block in blocks(document)]
    return [block for block in found if block.language == "toml" and not block.path]


def links(document: Path) -> list[str]:
    """Targets of all links outside of code that lead to a file or heading of the project."""
    targets = _LINK.findall(_FENCE.sub("", document.read_text()))
    return [target for target in targets if "://" not in target]


def anchors(document: Path) -> set[str]:
    """What links may put behind `#`: the headings, as GitHub writes them."""
    headings = _HEADING.findall(_FENCE.sub("", document.read_text()))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def guide_packages() -> Iterator[Block]:
    """The plugins of the guide, each a package's `__init__.py`."""
    return (block for block in blocks(GUIDE) if block.path.endswith("/__init__.py"))


def install_guide_packages(site: Path) -> dict[str, str]:
    """Install every plugin of the guide, `nogo` by its own pyproject.toml; gives the environment that finds them."""
    points = tomllib.loads(named_block(GUIDE, "pyproject.toml").text)["project"]["entry-points"]["dnsproxy.plugins"]
    environment: dict[str, str] = {}
    for block in guide_packages():
        package = block.path.partition("/")[0]
        name = package.removeprefix("dnsproxy_")
        plugin = _PLUGIN.search(block.text)
        assert plugin, f"{block}: no plugin in it"
        entry = points.get(name, f"{package}:{plugin[1]}")
        environment = install_package(site, package, block.text, {name: entry.partition(":")[2]})
    return environment
