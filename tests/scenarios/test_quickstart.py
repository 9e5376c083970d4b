"""The configuration of `make run`, with ports and a folder of its own: what a first look at it shows."""

import json
import re
from pathlib import Path

from dnsproxy import config
from tests.support import wire
from tests.support.client import ask
from tests.support.collector import Collector, unix_address
from tests.support.ports import free_port
from tests.support.proxy import Proxy
from tests.support.tap_files import read_file

QUICKSTART = (Path(__file__).resolve().parents[2] / "conf" / "quickstart.toml").read_text()
FOUR_TYPES = ["CQ", "FQ", "FR", "CR"]


class Quickstart(Proxy):
    """Its file has [[server]] blocks with addresses of their own: no `listen` at the top."""

    def _head(self) -> str:
        return f"admin = {json.dumps(str(self.admin))}\n"


def test_one_query_shows_all_four_types_in_the_file_and_to_whoever_listens_later(tmp_path: Path) -> None:
    front, back = free_port(), free_port()
    body = QUICKSTART.replace(":5300", f":{front}").replace(":5301", f":{back}")
    body = body.replace("/tmp/dnsproxy-quickstart", str(tmp_path))
    with Quickstart(tmp_path, body, port=front) as proxy:
        assert wire.addresses(ask(wire.query("www.example.test"), front)) == ["192.0.2.80"]
        with Collector(unix_address(tmp_path, "dnstap.sock")) as tap:
            assert [message.type for message in tap.wait_for(4)] == FOUR_TYPES
            proxy.stop()
    assert [message.type for message in read_file(tmp_path / "dns.fstrm").messages] == FOUR_TYPES


def test_the_upstreams_that_it_suggests_in_comments_may_stand_in_place_of_its_own() -> None:
    suggested = re.findall(r"^# (to = \[[^\]]*\])", QUICKSTART, re.MULTILINE)
    assert any("/etc/resolv.conf" in line for line in suggested)
    for line in suggested:
        changed = QUICKSTART.replace('to = ["127.0.0.1:5301"]', line)
        assert changed != QUICKSTART
        assert config.parse(changed, "/quickstart.toml").servers
