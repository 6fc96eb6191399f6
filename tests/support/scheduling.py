"""Which worker of a parallel run takes which tests next, so that waiting and computing overlap.

Tests of whole clusters mostly wait: for processes, leases, time-outs. Property tests and
simulations compute. All work stands in one queue, from the longest waits to the longest
computations. Every second worker takes from its front, the others from its end, and they meet among
the quick tests.

Tests of an `xdist_group` stay together, in one place only those of a file. Those of a file without
a group stay together too, since its fixtures are then made once, except where single tests take
long.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from xdist.scheduler import LoadGroupScheduling

if TYPE_CHECKING:
    from xdist.workermanage import WorkerController

_QUICK: Final = "tests/unit/"
# From the longest waits to the longest computations.
_PLACES: Final = (
    "tests/contract/control/",  # a worker has a file's with real servers for minutes: begin at once
    "tests/cluster/",
    "tests/contract/",
    _QUICK,
    "tests/architecture/",
    "tests/api/",
    "tests/property/",
    "tests/api/test_aws_cli.py",
    "tests/api/test_schemathesis.py",
    "tests/simulation/",
)
# Together they would keep one worker for longer than all the others need for everything else.
_GROUPED_BY_FILE: Final = "tests/contract/control/"
_TEST_BY_TEST: Final = (
    "tests/cluster/",
    "tests/contract/",
    "tests/property/",
    "tests/simulation/",
    "tests/api/test_aws_cli.py",
    "tests/api/test_schemathesis.py",
)


class Scheduling(LoadGroupScheduling):  # type: ignore[misc]  # xdist has no types
    """Work taken from both ends of one queue; needs items in the order of `place_of`."""

    def _split_scope(self, nodeid: str) -> str:
        """Name what a test stays together with."""
        scope: str = super()._split_scope(nodeid)
        file = nodeid.partition("::")[0]
        if scope != nodeid:
            return f"{scope} {file}" if nodeid.startswith(_GROUPED_BY_FILE) else scope
        return nodeid if nodeid.startswith(_TEST_BY_TEST) else file

    def _assign_work_unit(self, node: WorkerController) -> None:
        """Put the unit at the worker's end of the queue in front, whence xdist takes it."""
        number = int(node.gateway.id.removeprefix("gw"))
        if number % 2:
            self.workqueue.move_to_end(next(reversed(self.workqueue)), last=False)
        super()._assign_work_unit(node)


def place_of(nodeid: str) -> int:
    """Return where in the queue a test stands: the longest waits first, computations last."""
    found = [place for place, begin in enumerate(_PLACES) if nodeid.startswith(begin)]
    return found[-1] if found else _PLACES.index(_QUICK)
