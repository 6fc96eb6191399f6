"""What a cluster on this machine consists of: how many of what, on which ports, in which folders.

A plan is written down in the cluster's directory, so that the next start finds every component
where the others expect it.

    cluster.json                    the plan
    client.env                      addresses and credentials for clients (0600)
    etcd/  postgresql/              of the programs of those names
    control-1/ node-1/ proxy-1/ …   one component each: config.toml, data/, tmp/, stdout, stderr
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final, Self

from tests.support.ports import lasting_ports

if TYPE_CHECKING:
    from pathlib import Path

PLAN_FILE: Final = "cluster.json"
ZONES: Final = 3
LOOPBACK: Final = "127.0.0.1"
_NODES_FROM: Final = 10  # node-1 is at .11
_PORTS_EACH: Final = 3  # public, peer, admin
_PORTS_BESIDE: Final = 3  # etcd's two, PostgreSQL's


class OtherShape(Exception):
    """A directory holds a cluster of another shape; the message says which."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """How many processes of what; several controls need PostgreSQL."""

    nodes: int = 3
    proxies: int = 2
    controls: int = 1
    workers: int = 1
    has_postgresql: bool = False
    network: str = ""
    """The first three numbers of IPv4 addresses, if nodes have hosts of their own; or none."""

    @property
    def host(self) -> str:
        """Return the address of all but the nodes."""
        return f"{self.network}.1" if self.network else LOOPBACK

    def host_of(self, name: str) -> str:
        """Return a component's address."""
        role, _, number = name.partition("-")
        apart = self.network and role == "node"
        return f"{self.network}.{_NODES_FROM + int(number)}" if apart else self.host

    @property
    def names(self) -> tuple[str, ...]:
        """Name the components: controls, then nodes, then proxies, as they are started."""
        counts = {"control": self.controls, "node": self.nodes, "proxy": self.proxies}
        return tuple(f"{role}-{n}" for role, count in counts.items() for n in range(1, count + 1))


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where one component is."""

    name: str
    public_port: int
    peer_port: int
    admin_port: int
    host: str = LOOPBACK

    @property
    def role(self) -> str:
        """Return what the component is."""
        return self.name.partition("-")[0]

    @property
    def zone(self) -> str:
        """Return its zone; they are given out in turn."""
        return f"zone-{(int(self.name.partition('-')[2]) - 1) % ZONES + 1}"

    @property
    def public_url(self) -> str:
        """Return where clients find it."""
        return f"http://{self.host}:{self.public_port}"

    @property
    def admin_url(self) -> str:
        """Return where the operator finds it."""
        return f"http://{self.host}:{self.admin_port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A shape and the ports of everything in it."""

    shape: Shape
    etcd_client_port: int
    etcd_peer_port: int
    postgresql_port: int
    places: tuple[Place, ...]

    @classmethod
    def of(cls, directory: Path, shape: Shape) -> Plan:
        """Read a directory's plan, or make one of this shape and write it down.

        Raises: OtherShape: the directory's cluster is another one; nodes and proxies may be added
            to it, nothing may be taken away.
        """
        path = directory / PLAN_FILE
        former = cls._read(json.loads(path.read_text())) if path.exists() else None
        plan = cls._made(shape) if former is None else former._grown(shape)
        directory.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(asdict(plan), indent=1) + "\n")
        return plan

    def of_role(self, role: str) -> Iterator[Place]:
        """Give the places of a role's components."""
        return (place for place in self.places if place.role == role)

    @classmethod
    def _made(cls, shape: Shape) -> Self:
        ports = lasting_ports(_PORTS_BESIDE + _PORTS_EACH * len(shape.names))
        return cls(
            shape=shape,
            etcd_client_port=ports[0],
            etcd_peer_port=ports[1],
            postgresql_port=ports[2],
            places=_places(shape, shape.names, ports[_PORTS_BESIDE:]),
        )

    def _grown(self, shape: Shape) -> Plan:
        known = {place.name: place for place in self.places}
        if self.shape.has_postgresql != shape.has_postgresql or not known.keys() <= {*shape.names}:
            had = ", ".join(f"{name} {value}" for name, value in asdict(self.shape).items())
            raise OtherShape(
                f"The directory holds a cluster of another shape: {had}. Nodes and proxies may be "
                "added; choose as many of everything at least, or another directory."
            )
        added = [name for name in shape.names if name not in known]
        new = {place.name: place for place in _places(shape, added, lasting_ports(3 * len(added)))}
        return Plan(
            shape=shape,
            etcd_client_port=self.etcd_client_port,
            etcd_peer_port=self.etcd_peer_port,
            postgresql_port=self.postgresql_port,
            places=tuple((known | new)[name] for name in shape.names),
        )

    @classmethod
    def _read(cls, stored: Mapping[str, Any]) -> Self:
        ports = {name: stored[name] for name in stored if name.endswith("_port")}
        return cls(
            shape=Shape(**stored["shape"]),
            places=tuple(Place(**place) for place in stored["places"]),
            **ports,
        )


def shape_in(directory: Path) -> Shape | None:
    """Read the shape of the cluster that a directory holds; None: there is none."""
    path = directory / PLAN_FILE
    return Shape(**json.loads(path.read_text())["shape"]) if path.exists() else None


def _places(shape: Shape, names: Sequence[str], ports: tuple[int, ...]) -> tuple[Place, ...]:
    return tuple(
        Place(
            name=name,
            host=shape.host_of(name),
            public_port=ports[_PORTS_EACH * n],
            peer_port=ports[_PORTS_EACH * n + 1],
            admin_port=ports[_PORTS_EACH * n + 2],
        )
        for n, name in enumerate(names)
    )
