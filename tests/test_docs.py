"""README and docs/: what they show is true, and their links lead somewhere."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from dnsproxy import config
from dnsproxy.dnstap.schema import ALL_TYPES
from dnsproxy.template import LABELS
from tests.support import wire
from tests.support.client import ask
from tests.support.documents import (
    DOCUMENTS,
    README,
    ROOT,
    Block,
    anchors,
    blocks,
    configurations,
    install_guide_packages,
    links,
    named_block,
)
from tests.support.programs import dig, run_program
from tests.support.proxy import Proxy, run_dnsproxy
from tests.support.toml import dnstap, forward

DNSTAP_PAGE = ROOT / "docs" / "dnstap.md"
OPERATIONS_PAGE = ROOT / "docs" / "operations.md"
FORWARD_LABELS = ("attempt", "attempts", "outcome", "rtt", "upstream", "zone")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where the documents' configurations find the files that they name, and Python the plugins of the guide."""
    place = tmp_path_factory.mktemp("documents")
    authority = trustme.CA()
    authority.cert_pem.write_to_path(place / "collector-ca.pem")
    for name in ("client", "server"):
        ours = authority.issue_cert(f"{name}.example.org")
        ours.cert_chain_pems[0].write_to_path(place / f"{name}.pem")
        ours.private_key_pem.write_to_path(place / f"{name}.key")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(install_guide_packages(place / "site")["PYTHONPATH"])
        yield place


@pytest.mark.parametrize("block", configurations(), ids=str)
def test_every_configuration_shown_is_valid(block: Block, folder: Path) -> None:
    shown = folder / "shown.toml"
    shown.write_text(block.text)
    assert config.load(str(shown)).servers


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_between_documents_lead_somewhere(document: Path) -> None:
    for link in links(document):
        path, _, anchor = link.partition("#")
        target = (document.parent / path).resolve() if path else document
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_the_errors_in_the_readme_are_the_ones_that_come(tmp_path: Path) -> None:
    wrong = (
        'listn = ["127.0.0.1:5300"]\n\n[[dnstap]]\nsocket = "/run/tap.sock"\nfull = "yes"\n\n'
        '[[forward]]\nto = ["192.0.2.53"]\npolicy = "roundrobin"\n'
    )
    (tmp_path / "wrong.toml").write_text(wrong)
    done = run_dnsproxy("--config", "wrong.toml", "--check", folder=tmp_path)
    (shown,) = [block.text for block in blocks(README) if "wrong.toml" in block.text]
    assert done.stderr == shown.partition("\n")[2]


def test_the_first_configuration_is_checked_as_the_readme_says(tmp_path: Path) -> None:
    first = next(block for block in blocks(README) if block.language == "toml")
    (tmp_path / "my.toml").write_text(first.text)
    done = run_dnsproxy("--config", "my.toml", "--check", folder=tmp_path)
    (shown,) = [block.text for block in blocks(README) if "my.toml: ok" in block.text]
    assert done.stdout in shown


@pytest.mark.interop
def test_the_four_messages_of_the_readme_are_what_the_quickstart_gives(tmp_path: Path) -> None:
    recorded = tmp_path / "dns.fstrm"
    with Proxy(tmp_path, '[records]\nzones = ["example.test."]\ndata = "www A 192.0.2.80"\n') as resolver:
        body = dnstap(to=f"file://{recorded}") + forward(f"127.0.0.1:{resolver.port}")
        with Proxy(tmp_path, body) as proxy:
            answer = dig(proxy.port, "www.example.test", "+short")
    (shown,) = [block.text for block in blocks(README) if "+short" in block.text]
    assert answer in shown
    lines = [_masked(line) for line in shown.splitlines() if "example.test/IN/A" in line]
    assert [_masked(line) for line in run_program("dnstap-read", str(recorded)).splitlines()] == lines


def _masked(line: str) -> str:
    """A line of `dnstap-read` without date, time and ports."""
    return re.sub(r"(?<=127\.0\.0\.1):\d+", ":port", re.sub(r"^\S+ \S+", "time", line))


def test_every_label_of_templates_is_explained() -> None:
    text = DNSTAP_PAGE.read_text()
    wanted = [f"`{{{label}}}`" for label in LABELS] + [f"`{{/forward/{label}}}`" for label in FORWARD_LABELS]
    assert [label for label in [*wanted, "`{/query/id}`", "`{/query/protocol}`"] if label not in text] == []


def test_the_words_for_types_are_those_that_the_plugin_takes(folder: Path) -> None:
    words = re.findall(r'`"([A-Za-z_ ]+)"`', DNSTAP_PAGE.read_text().partition("## Selecting")[2].partition("\n## ")[0])
    assert len(words) > 5
    taps = "".join(f'[[dnstap]]\nsocket = "/run/{number}"\ntypes = "{word}"\n' for number, word in enumerate(words))
    (server,) = config.parse(taps, str(folder / "types.toml")).servers
    selections = [stanza.selected for stanza in server.plugins[0].stanzas]
    assert set().union(*selections) == ALL_TYPES


def test_extra_is_read_as_the_page_says(tmp_path: Path) -> None:
    recorded = tmp_path / "dns.fstrm"
    tap = dnstap(to=f"file://{recorded}", extra="{/query/protocol} {name}")
    with Proxy(tmp_path, tap) as proxy:
        ask(wire.query("Extra.example.org"), proxy.port)
    reader = named_block(DNSTAP_PAGE, "read_extra.py").text
    done = subprocess.run([sys.executable, "-c", reader, recorded], capture_output=True, text=True, check=True)
    assert [line.strip() for line in done.stdout.splitlines()] == [
        "CLIENT_QUERY UDP extra.example.org.",
        "CLIENT_RESPONSE UDP extra.example.org.",
    ]


def test_every_number_of_status_is_explained(tmp_path: Path) -> None:
    tap = dnstap(to="unix:///run/nobody/listens.sock")
    with Proxy(tmp_path, tap + forward("127.0.0.1:9")) as proxy:
        status = proxy.status()
    keys = {*status, *(f"limits.{key}" for key in status["limits"])} - {"listeners", "taps", "upstreams", "limits"}
    for kind in ("listeners", "taps", "upstreams"):
        keys |= set(status[kind][0]) - {"name", "address", "socket"}
    text = OPERATIONS_PAGE.read_text()
    assert sorted(key for key in keys if f"`{key}`" not in text) == []
