"""Whose a coordinator is, by its own words, and whether it went back in time; pure.

`control/plane` names the control plane, and how often an operator had the topology recovered. A
coordinator that lost the key, or says that less was recovered than it once had, is empty or an old
copy, however high its revision has grown since; so is one that has fewer of control's changes
(`control/published`) than it had. One that says more was recovered has been recovered into; that is
believed only if control says the same.
"""

from __future__ import annotations

from bisect import bisect_left
from operator import attrgetter
from typing import Final

from dstore.topology import keyspace as keys
from dstore.topology import values
from dstore.topology.coordinator import Events, KeyValue, Resync, RolledBack, WatchBatch
from dstore.topology.view import TopologyView

_key_of: Final = attrgetter("key")


def check(view: TopologyView, batch: WatchBatch, *, proved: values.Plane | None) -> None:
    """Look whether a batch is of the coordinator that a view was made of.

    Args:
        view: what is known.
        batch: what comes now.
        proved: the claim that this coordinator was accepted for, if it was and this is the first
            that is heard of it.
    Raises: RolledBack: it is not; nothing of the batch must be taken over.
    """
    match batch:
        case Resync(listing=listing):
            _check_listing(view, find(listing.kvs, keys.PLANE), proved=proved)
            if proved is None:
                _check_published(view, find(listing.kvs, keys.PUBLISHED))
        case Events(events=events):
            for event in events:
                if event.key == keys.PLANE.path:
                    _check_event(view, event.kv)
                elif event.key == keys.PUBLISHED.path:
                    _check_published(view, event.kv)
        case _:
            pass


def may_be_recovered(view: TopologyView, found: values.Plane) -> bool:
    """Tell whether a frozen process may go on with what a coordinator shows, if control agrees.

    Args:
        view: what it has known until it froze.
        found: what the coordinator says now; control must name the same number of recoveries.
    """
    known = None if view.plane is None else view.plane.value
    seen = 0 if view.published is None else view.published.value.sequence
    return (
        (known is None or found.control_plane == known.control_plane)
        and found.recoveries > (0 if known is None else known.recoveries)
        and found.sequence >= seen  # else control's store is older than what was seen of it
    )


def find(kvs: tuple[KeyValue, ...], path: keys.Path) -> KeyValue | None:
    """Find a key in a listing, which is in their order."""
    place = bisect_left(kvs, path.path, key=_key_of)
    return kvs[place] if place < len(kvs) and kvs[place].key == path.path else None


def _check_listing(view: TopologyView, kv: KeyValue | None, *, proved: values.Plane | None) -> None:
    found = None if kv is None else _claimed(kv)
    if proved is not None:
        if found is None or found.recoveries < proved.recoveries:
            raise RolledBack("The coordinator was exchanged again while it was read.")
        return
    known = None if view.plane is None else view.plane.value
    if known is None or (kv is not None and found is None):
        return  # what does not parse is kept out, and proves nothing
    if found is None:
        raise RolledBack("The coordinator does not say any more whose it is, as if it were empty.")
    _check_owner(known, found)
    if found.recoveries > known.recoveries:
        raise RolledBack("The topology was recovered into another coordinator since.")


def _check_event(view: TopologyView, kv: KeyValue | None) -> None:
    known = None if view.plane is None else view.plane.value
    if known is None:
        return
    if kv is None:
        raise RolledBack(
            "The coordinator does not say any more whose it is: its keys were deleted."
        )
    found = _claimed(kv)
    if found is not None:
        _check_owner(known, found)


def _check_published(view: TopologyView, kv: KeyValue | None) -> None:
    """Compare how much control has published: it never takes any of it back."""
    known = 0 if view.published is None else view.published.value.sequence
    found = 0 if kv is None else _published(kv)
    if found is not None and found < known:
        raise RolledBack(
            f"The coordinator has {found} of control's changes and had {known} before: it is an "
            "older copy."
        )


def _check_owner(known: values.Plane, found: values.Plane) -> None:
    if found.control_plane != known.control_plane:
        raise RolledBack(
            f"The coordinator is control plane {found.control_plane}'s, and was "
            f"{known.control_plane}'s."
        )
    if found.recoveries < known.recoveries:
        raise RolledBack(
            f"The coordinator has seen {found.recoveries} recoveries of the topology, and there "
            f"were {known.recoveries}: it is an older copy."
        )


def _claimed(kv: KeyValue) -> values.Plane | None:
    try:
        return values.decode(keys.PLANE, kv.value)
    except values.Malformed:
        return None


def _published(kv: KeyValue) -> int | None:
    try:
        return values.decode(keys.PUBLISHED, kv.value).sequence
    except values.Malformed:
        return None
