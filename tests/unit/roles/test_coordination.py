"""The coordinator is the etcd that the settings name, known by the files that they name."""

from pathlib import Path

import pytest

from dstore.base.clock import SystemClock
from dstore.base.entropy import SystemEntropy
from dstore.model.errors import Refused
from dstore.roles.coordination import etcd_coordinator
from dstore.settings import load


async def test_without_etcd_there_is_no_cluster() -> None:
    """The sentence names the setting."""
    with pytest.raises(Refused, match=r"etcd\.endpoints"):
        await etcd_coordinator(load(), clock=SystemClock(), entropy=SystemEntropy())


async def test_file_that_can_not_be_read_is_named(tmp_path: Path) -> None:
    """Neither a traceback nor an etcd that is spoken to in clear instead."""
    settings = load(flags={"etcd_endpoints": ("127.0.0.1:1",), "etcd_ca": tmp_path / "absent.pem"})
    with pytest.raises(Refused, match=r"absent\.pem of etcd\.ca can't be read: No such file"):
        await etcd_coordinator(settings, clock=SystemClock(), entropy=SystemEntropy())


async def test_etcd_on_this_machine_needs_no_certificates() -> None:
    """For a first try beside a plain etcd; nothing is dialled before it is used."""
    settings = load(flags={"etcd_endpoints": ("127.0.0.1:1",), "etcd_namespace": "x/"})
    made = await etcd_coordinator(settings, clock=SystemClock(), entropy=SystemEntropy())
    await made.close()
