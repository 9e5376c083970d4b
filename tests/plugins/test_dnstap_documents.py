"""What the documents say of a tap's keys, and of those of other programs."""

import re
import tomllib
from typing import Any

import pytest
from dnsproxy_dnstap import TapConfig

from dnsproxy.convert import keys_of
from tests.plugins.tap_configs import FILE, TLS, errors
from tests.support.documents import ROOT

GUIDE = (ROOT / "docs" / "dnstap.md").read_text()
README = (ROOT / "plugins" / "dnsproxy_dnstap" / "README.md").read_text()
TABLES = (ROOT / "docs" / "dnstap-options.md").read_text()
ROWS = re.findall(r"^\| (.*?) \| (.*?) \| (.*?) ?\|$", TABLES, re.MULTILINE)
# as `man named.conf` of 9.18 has them, and CoreDNS's README of 1.14
BIND = """
    dnstap dnstap-output size versions suffix unlimited increment timestamp dnstap-identity hostname none dnstap-version
    fstrm-set-buffer-hint fstrm-set-flush-timeout fstrm-set-input-queue-size fstrm-set-output-notify-threshold
    fstrm-set-output-queue-model fstrm-set-output-queue-size fstrm-set-reopen-interval
    all auth client forwarder resolver update query response -roll -reopen
""".split()  # noqa: SIM905  as in the manual
COREDNS = "full writebuffer queue identity version extra skipverify listen tls CERT KEY CA metadata".split()  # noqa: SIM905


@pytest.mark.parametrize("key", keys_of(TapConfig))
def test_every_key_is_in_the_plugins_readme_and_in_the_guide(key: str) -> None:
    assert f"`{key}`" in README
    assert re.search(rf"`{key}\b|^{key} = ", GUIDE, re.MULTILINE)


@pytest.mark.parametrize(("words", "heading"), [(BIND, "BIND"), (COREDNS, "CoreDNS")], ids=["BIND", "CoreDNS"])
def test_every_option_of_theirs_is_in_its_table(words: list[str], heading: str) -> None:
    table = TABLES.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    assert [word for word in words if not re.search(rf"(?<![\w-]){re.escape(word)}(?![\w-])", table)] == []


def pairs() -> list[str]:
    """Everything like `keep = 5` that the tables say is ours."""
    spans = [span for _, ours, _ in ROWS for span in re.findall(r"`([^`]*)`", ours)]
    return sorted({span for span in spans if " = " in span and "…" not in span})


@pytest.mark.parametrize("pair", pairs())
def test_what_is_ours_is_valid(pair: str) -> None:
    keys: dict[str, Any] = tomllib.loads(pair)
    if {"rotate_size", "keep"} & set(keys):
        keys["socket"] = FILE
    if "skip_verify" in keys:
        keys["socket"] = TLS
    assert errors(**keys) == {}


def test_the_tables_say_much_that_is_ours() -> None:
    assert len(pairs()) > 15
