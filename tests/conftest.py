"""What every test run shares: strict skips, reproducible hypothesis, restored logging."""

import gc
import logging
import os
import shutil
from collections.abc import Generator, Iterator
from typing import Any

import hypothesis
import pytest

from dstore.base.logging import configure
from dstore.daemon import COLLECTOR_OBJECTS
from tests.support.scheduling import Scheduling, place_of
from tests.support.server import Server

# Programs are started from processes in which gRPC's threads run: its fork handlers, which are for
# forks that go on without exec, can end the child before it is that program.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "false")

# Where a skipped test is a failure: what can't be tested there is not known to work.
_IS_STRICT = os.environ.get("CI") == "true" or os.environ.get("DSTORE_TEST_STRICT") == "1"

# The same examples in every run: a failure is there again when somebody looks, and a slow machine
# fails nothing. HYPOTHESIS_PROFILE=explore draws new examples, ten times as many.
hypothesis.settings.register_profile("ci", derandomize=True, deadline=None, database=None)
hypothesis.settings.register_profile("explore", max_examples=1_000, deadline=None)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))


# Hundreds of servers are started; each imports dStore anew where a test asks for a program.
Server.forks = True


def _refuse_skip(report: pytest.TestReport | pytest.CollectReport) -> None:
    if not _IS_STRICT or report.outcome != "skipped" or hasattr(report, "wasxfail"):
        return
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    report.outcome = "failed"
    report.longrepr = f"A skipped test counts as failed here. {reason}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Turn a skipped test into a failed one where the run is strict."""
    report = yield
    _refuse_skip(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Turn a file that skips itself into a failed one where the run is strict."""
    report = yield
    _refuse_skip(report)
    return report


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Order the tests, see `scheduling`, and let `xdist_group` hold.

    xdist 3.8 writes the group where pytest 9.2 does not look any more; without it a group's tests
    go to any worker, and each worker starts the group's servers anew.
    """
    items.sort(key=lambda item: place_of(item.nodeid))
    for item in items:
        grouped = getattr(item, "_nodeid", None)
        if grouped is not None and grouped != item.nodeid:
            item._id = type(item._id).parse(grouped)


@pytest.hookimpl(optionalhook=True)  # xdist's, which -p no:xdist leaves out
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Scheduling | None:
    """Let waiting and computing overlap where groups are asked for."""
    return Scheduling(config, log) if config.getoption("dist") == "loadgroup" else None


def pytest_collection_finish() -> None:
    """Look for garbage as a node does: seldom, and not in what stays, thousands of tests here."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(COLLECTOR_OBJECTS, 20, 50)


def pytest_unconfigure(config: pytest.Config) -> None:
    """Remove the scratch files that scripts/test put into memory: the last worker has ended."""
    scratch = os.environ.get("DSTORE_TEST_SCRATCH")
    if scratch is not None and not hasattr(config, "workerinput"):
        shutil.rmtree(scratch, ignore_errors=True)


@pytest.fixture(autouse=True)
def _restored_logging() -> Iterator[None]:
    """Undo what a test configures, so that no test hears of another's logs."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    configure()
    root.handlers[:] = handlers
    root.setLevel(level)
