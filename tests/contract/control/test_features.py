"""While a cluster is upgraded nobody uses what a node does not know yet."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from structlog.testing import capture_logs

from dstore.model.errors import Unavailable
from dstore.model.features import Feature
from dstore.model.keys import KeyKind
from dstore.model.status import ResourceStatus
from dstore.model.stored_definition import StoredKey, encode_definition
from dstore.model.table_settings import (
    NO_SETTINGS,
    Index,
    KeyAttribute,
    ProjectionType,
    TableSettings,
    TimeToLive,
)
from dstore.service.calls.control_calls import DeclareTable, SetTable
from dstore.service.control import indexes as indexes_module
from dstore.service.control.publications import definition_of, table_publication
from dstore.service.control.realm import append
from dstore.storage.control import tables
from dstore.storage.control.components import NODES
from dstore.storage.control.records import ComponentState
from dstore.topology.indexes import index_view
from tests.contract.control.conftest import Place
from tests.support import control_records
from tests.support.control import (
    ControlProcess,
    ObedientNode,
    eventually,
    new_tenant,
    obedient_nodes,
)
from tests.support.filling import FillingNodes
from tests.support.topology import uuid

BY_STATE = Index(name="by-state", hash_keys=("state",), projection=ProjectionType.ALL)
INDEXED = TableSettings(
    global_indexes=(BY_STATE,),
    index_attributes=(KeyAttribute(name="state", kind=KeyKind.STRING),),
)
EXPIRING = TableSettings(
    time_to_live=TimeToLive(attribute="until", is_enabled=True, changed_at_us=1)
)


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(indexes_module, "INDEX_ASK_S_MAX", 0.05)
    monkeypatch.setattr(indexes_module, "INDEXES_LOOK_S", 0.1)


def _declare(settings: TableSettings = NO_SETTINGS, *, number: int = 100) -> DeclareTable:
    return DeclareTable(
        tenant="acme",
        name=f"orders-{number}",
        table_id=uuid(number),
        partition=StoredKey("id", KeyKind.STRING),
        settings=settings,
        actor="tester",
    )


def _set(before: TableSettings, after: TableSettings) -> SetTable:
    return SetTable(
        tenant="acme", name="orders-100", table_id=uuid(100), expected=before, settings=after
    )


@asynccontextmanager
async def _led(place: Place) -> AsyncIterator[tuple[ControlProcess, tuple[ObedientNode, ...]]]:
    """Run three nodes that obey, and a leader with a tenant and a plain table."""
    async with (
        obedient_nodes(place.coordinator, await place.store(), 3) as obedient,
        place.leader(nodes=FillingNodes()) as leader,
    ):
        await leader.control.tenants.create(new_tenant())
        await leader.control.tables.declare(_declare())
        yield leader, obedient


async def _say(leader: ControlProcess, node: ObedientNode, *features: str) -> None:
    """Have a node say what it knows, and wait until control has heard."""
    node.features = features
    await node.show()

    def is_seen() -> bool:
        seen = leader.watcher.view.node(node.node)
        return (
            seen is not None
            and seen.details is not None
            and (seen.details.value.features == features)
        )

    await eventually(is_seen)


def _has_index(leader: ControlProcess, status: ResourceStatus) -> bool:
    view = leader.watcher.view
    base = view.table("acme", "orders-100")
    found = None if base is None else index_view(view, base.definition, "by-state")
    return found is not None and found.status is status


async def test_a_feature_waits_for_the_last_node(place: Place) -> None:
    """Nodes are upgraded one by one: each of the three uses is refused, by name, until all are."""
    async with _led(place) as (leader, (first, second, _)):
        service = leader.control.tables
        await _say(leader, first)
        await _say(leader, second, Feature.LOCAL_INDEXES, Feature.TIME_TO_LIVE, "of a later one")
        for ask in (
            service.declare(_declare(INDEXED, number=101)),
            service.set(_set(NO_SETTINGS, INDEXED)),
        ):
            with pytest.raises(Unavailable, match="Global indexes can't be used yet") as refused:
                await ask
            assert first.node in refused.value.message
            assert second.node in refused.value.message
            assert refused.value.retry_after_ms
        with pytest.raises(Unavailable, match="Time to live") as refused:
            await service.set(_set(NO_SETTINGS, EXPIRING))
        assert first.node in refused.value.message
        assert second.node not in refused.value.message, "it knows that"
        view = leader.watcher.view
        assert view.table("acme", "orders-101") is None, "nothing was made"
        plain = await service.declare(_declare(number=102))
        assert plain.is_done, "what everybody knows goes on"
        tagged = replace(NO_SETTINGS, tags={"a": "b"})
        assert (await service.set(_set(NO_SETTINGS, tagged))).is_done

        await _say(leader, first, *Feature)
        assert (await service.set(_set(tagged, EXPIRING))).is_done
        await _say(leader, second, *Feature)
        made = await service.declare(_declare(INDEXED, number=101))
        assert made.status is ResourceStatus.ACTIVE
        both = replace(INDEXED, time_to_live=EXPIRING.time_to_live)
        assert (await service.set(_set(EXPIRING, both))).is_done
        await eventually(lambda: _has_index(leader, ResourceStatus.ACTIVE))


async def test_nodes_that_are_away_count(place: Place) -> None:
    """One that is down, or has not come yet, may come as it was; one that was removed may not."""
    async with _led(place) as (leader, (node, *_)):
        service = leader.control.tables
        await _say(leader, node)
        await node.die()
        async with leader.plane.store.transaction() as tx:
            await NODES.insert(tx, control_records.node(uuid(44)))
        with pytest.raises(Unavailable) as refused:
            await service.set(_set(NO_SETTINGS, EXPIRING))
        assert node.node in refused.value.message
        assert uuid(44) in refused.value.message
        async with leader.plane.store.transaction() as tx:
            for removed in (str(node.node), uuid(44)):
                await NODES.set_state(tx, removed, ComponentState.REMOVED, now_us=1)
        assert (await service.set(_set(NO_SETTINGS, EXPIRING))).is_done


async def test_a_declared_index_waits_and_is_made(place: Place) -> None:
    """One that was declared when nobody made any is not made beside a former node, but later."""
    async with _led(place) as (leader, (node, *_)):
        await _say(leader, node)
        async with leader.plane.store.transaction() as tx:
            found = await tables.get(tx, "acme", "orders-100")
            assert found is not None
            declared = replace(definition_of(found), settings=INDEXED)
            await tables.update(tx, replace(found, definition=encode_definition(declared)))
            await append(tx, [table_publication(declared, found.status)])
        with capture_logs() as logged:
            leader.control.publisher.wake()
            await eventually(lambda: any(node.node in each.get("reason", "") for each in logged))
        assert not _has_index(leader, ResourceStatus.ACTIVE)
        async with leader.plane.store.snapshot() as tx:
            assert await tables.indexes_of(tx, declared.table_id) == ()
        await _say(leader, node, *Feature)
        await eventually(lambda: _has_index(leader, ResourceStatus.ACTIVE))


async def test_a_node_that_comes_back_older_is_told_of(place: Place) -> None:
    """It is given no range of what it does not know, and status says so by name."""
    async with _led(place) as (leader, (node, *others)):
        survey = leader.control.survey
        assert (await leader.control.tables.set(_set(NO_SETTINGS, EXPIRING))).is_done
        assert not [each for each in (await survey.status()).problems if "version" in each]
        await _say(leader, node, Feature.LOCAL_INDEXES, Feature.GLOBAL_INDEXES)
        [problem] = [each for each in (await survey.status()).problems if "version" in each]
        assert f"Node {node.node} " in problem
        assert "does not know time to live" in problem
        assert not [each for each in others if each.node in problem]
