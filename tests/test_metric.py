"""What plugins call their numbers."""

import pytest

from dnsproxy import config
from dnsproxy.metric import Metric, plugin_metrics
from tests.fake_plugins import fakes

__all__ = ["fakes"]


@pytest.mark.parametrize("name", ["", "9lives_total", "with space", "Upper_total", "hyphen-ated", "a{b}", "naïve"])
def test_what_is_no_name_is_an_error(name: str) -> None:
    with pytest.raises(ValueError, match="no name of a metric"):
        Metric(name, "help", ("hits",))


def test_a_metric_is_the_sum_of_the_numbers_that_there_are() -> None:
    metric = Metric("coredns_cache_requests_total", "help", ("hits", "misses", "absent", "on", "text"))
    assert metric.value({"hits": 3, "misses": 4.5, "on": True, "text": "7", "others": 100}) == 7.5


def test_only_names_that_end_in_total_say_that_they_only_grow() -> None:
    assert Metric("hits_total", "", ()).is_counter
    assert not Metric("total_entries", "", ()).is_counter


@pytest.mark.usefixtures("fakes")
def test_each_configured_plugin_is_asked_once_whatever_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    hits = Metric("hits_total", "", ("hits",))
    configuration = config.parse('[cache]\n[[forward]]\nto = ["192.0.2.1"]\n', "/x.toml")
    cache, _ = configuration.servers[0].plugins
    monkeypatch.setattr(cache.plugin, "metrics", (hits,), raising=False)
    assert plugin_metrics(configuration) == {"cache": (hits,), "forward": ()}
