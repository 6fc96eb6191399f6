"""docs/METRICS.md names every metric of a process, and no other; each of them is set somewhere."""

import re
from dataclasses import fields
from pathlib import Path

import prometheus_client

from dstore.base.metrics import Metrics, create_metrics

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "METRICS.md"


def test_page_names_the_metrics_that_there_are() -> None:
    """Who adds a metric adds its line; who removes one, too."""
    metrics = create_metrics()
    metrics.operation("v1", "read").answered(200, 0.1)
    page = prometheus_client.generate_latest(metrics.registry).decode()
    there_are = set(re.findall(r"(?m)^# HELP (dstore_\w+) ", page))
    there_are = {name for name in there_are if not name.endswith("_created")}
    named = set(re.findall(r"(?m)^\| `(dstore_\w+)` \|", PAGE.read_text()))
    assert there_are == named


def test_every_metric_is_counted() -> None:
    """A metric that stays at zero for ever tells whoever watches it that all is well."""
    sources = [path.read_text() for path in (ROOT / "dstore").rglob("*.py")]
    names = {each.name for each in fields(Metrics)} - {"registry", "_operations"}
    used = {
        name
        for name in names
        if any(re.search(rf"(metrics|self)\.{name}\b", text) for text in sources)
    }
    assert names == used
