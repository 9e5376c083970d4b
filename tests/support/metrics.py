"""A Prometheus scraper: what `/metrics` says, by name and labels."""

import re
import urllib.error
import urllib.request
from dataclasses import dataclass

SCRAPE_WITHIN_S = 5.0

_SAMPLE = re.compile(r"^(\w+)(?:\{(.*)\})? (\S+)$", re.MULTILINE)
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


@dataclass(frozen=True)
class Metrics:
    """One scrape."""

    text: str
    content_type: str

    def values(self, name: str, **labels: str) -> list[float]:
        """Of every sample of this name that has these labels."""
        found = [(match[1], dict(_LABEL.findall(match[2] or "")), match[3]) for match in _SAMPLE.finditer(self.text)]
        return [float(value) for one, has, value in found if one == name and labels.items() <= has.items()]

    def value(self, name: str, **labels: str) -> float:
        """The sum over those samples; AssertionError when there is none."""
        found = self.values(name, **labels)
        assert found, f"no {name} with {labels} in:\n{self.text}"
        return sum(found)


def scrape(port: int, path: str = "/metrics") -> Metrics:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=SCRAPE_WITHIN_S) as response:
        return Metrics(response.read().decode(), response.headers["Content-Type"])


def http_status(port: int, path: str, method: str = "GET") -> int:
    """The status of a request."""
    asked = urllib.request.Request(f"http://127.0.0.1:{port}{path}", method=method)
    try:
        with urllib.request.urlopen(asked, timeout=SCRAPE_WITHIN_S) as response:
            return int(response.status)
    except urllib.error.HTTPError as exc:
        with exc:
            return exc.code
