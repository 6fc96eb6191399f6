"""What `dstore status` prints of a cluster: one page."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from dstore.cli.component_list import REMOVED, for_people
from dstore.cli.output import Column, emit, print_rows, print_thing

_COLUMNS: Final = (
    Column(heading="ROLE", key="role"),
    Column(heading="ID", key="id"),
    Column(heading="ZONE", key="zone"),
    Column(heading="STATE", key="state"),
    Column(heading="HEALTH", key="health"),
    Column(heading="RANGES", key="ranges"),
    Column(heading="FREE", key="free"),
    Column(heading="WHY", key="why", is_data=True),
)
_UNITS: Final = ((86_400, "days"), (3_600, "h"), (60, "min"))
_ORDER: Final = ("control", "node", "proxy", "reporting")


def print_cluster(cluster: Mapping[str, Any]) -> None:
    """Print what control knows of its cluster."""
    shown = {
        "cluster": f"{cluster.get('controlPlane')} in {cluster.get('location')}",
        "leader": cluster.get("leader") or "none",
        "topology": _topology(cluster.get("topology") or {}),
        "ranges": _ranges(cluster.get("ranges") or {}),
        "survives": cluster.get("sentence"),
        "tenants": cluster.get("tenants"),
        "tables": ", ".join(_counts(cluster.get("tables") or {})) or "0",
        "indexes": ", ".join(_index_counts(cluster.get("indexes") or {})),
        "tasks": _due(cluster.get("unfinishedTasks"), "unfinished", "dstore tasks list"),
        "scrubs": _scrubs(cluster.get("oldestScrubS")),
        "notices": _due(cluster.get("recentNotices"), "in the last day", "dstore notice list"),
    }
    print_thing("Cluster", cluster, {k: v for k, v in shown.items() if v not in {None, ""}})
    components = _sorted(cluster.get("components") or ())
    if components:
        emit("\n")
        print_rows(_COLUMNS, components)
        emit("\n")


def _sorted(components: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Put the roles in the order in which one looks at them; what was removed is not there."""
    present = [for_people(dict(row)) for row in components if row.get("state") != REMOVED]
    for row in present:
        if row.get("leads"):
            row["role"] = f"{row['role']} *"
    order = {role: place for place, role in enumerate(_ORDER)}
    return sorted(
        present,
        key=lambda row: (order.get(str(row.get("role")).split(" ")[0], len(order)), str(row["id"])),
    )


def _topology(topology: Mapping[str, Any]) -> str:
    words = [str(topology.get("sentence") or topology.get("state") or "unknown")]
    if waiting := topology.get("waitingWrites"):
        words.append(f"{waiting} changes wait to be published.")
    problems = list(topology.get("problems") or ())
    if count := topology.get("problemCount"):
        words.append(f"{count} values are kept out: {' '.join(map(str, problems))}")
    return " ".join(words)


def _ranges(ranges: Mapping[str, Any]) -> str:
    total = ranges.get("total")
    bad = [
        f"{count} {word}"
        for count, word in (
            (ranges.get("unavailable"), "unavailable"),
            (ranges.get("readOnly"), "read-only"),
            (ranges.get("underReplicated"), "under-replicated"),
            (ranges.get("possibleLoss"), "with possible loss"),
        )
        if count
    ]
    return f"{total}, {', '.join(bad)}" if bad else f"{total}, all available" if total else "0"


def _scrubs(oldest_s: object) -> str:
    if not isinstance(oldest_s, int):
        return ""
    unit_s, unit = next((each for each in _UNITS if oldest_s >= 2 * each[0]), (1, "s"))
    return f"the oldest of a range is {oldest_s // unit_s} {unit} old"


def _counts(tables: Mapping[str, Any]) -> Iterator[str]:
    for status, count in tables.items():
        if count:
            yield f"{count} {status}"


def _index_counts(indexes: Mapping[str, Any]) -> Iterator[str]:
    """Say how many global indexes are how: what a table calls updating is here being filled."""
    for status, count in indexes.items():
        if count:
            yield f"{count} {'being filled' if status == 'updating' else status}"


def _due(count: object, word: str, command: str) -> str:
    return f"{count} {word}, see {command}" if count else ""
