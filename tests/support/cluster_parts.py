"""The parts of a cluster on this machine: its components, its etcd, its PostgreSQL."""

from __future__ import annotations

import json
import os
import secrets
from typing import TYPE_CHECKING, Final

from dstore.base.private_files import write_private
from tests.support.cluster_plan import LOOPBACK
from tests.support.etcd import EtcdServer
from tests.support.etcd_certificates import Authority
from tests.support.http_client import Client, NoAnswer
from tests.support.postgresql import SUPERUSER, PostgreSQL
from tests.support.server import TIED, Server

if TYPE_CHECKING:
    from pathlib import Path

    from dstore.topology.etcd_wire import EtcdTls
    from tests.support.cluster_plan import Place, Plan

DATABASE: Final = "control"
_TOKEN_FILE: Final = "join.token"
_JOINED: Final = "enrolments/*/enrolment.json"


class Component(Server):
    """One process of a cluster, on ports that stay."""

    def __init__(self, place: Place, directory: Path) -> None:
        """Prepare; `write_settings` writes its configuration."""
        super().__init__(
            directory,
            config=directory / "config.toml",
            settings={"port": str(place.public_port)},
            prefix=TIED,
            environment={"PYTHONDONTWRITEBYTECODE": ""},  # all start faster if one has compiled
        )
        self.place = place

    @property
    def url(self) -> str:
        """Return where it is spoken to: a control by the operator, the others by clients."""
        return self.place.admin_url if self.place.role == "control" else self.place.public_url

    @property
    def token_file(self) -> Path:
        """Return where its join token is put."""
        return self.directory / _TOKEN_FILE

    @property
    def has_joined(self) -> bool:
        """Tell whether it belongs to a control plane."""
        return any(self.data.glob(_JOINED))

    def give_token(self, text: str) -> None:
        """Let it join at its next start."""
        write_private(self.token_file, text.encode() + b"\n")

    def health(self) -> tuple[int, str]:
        """Ask whether it is ready. Returns: the status, 0 without an answer, and what was said."""
        with Client(self.place.admin_url, token=None, timeout_s=5.0) as client:
            try:
                answer = client.get("/health/ready")
            except NoAnswer as error:
                return 0, str(error)
            return answer.status, answer.body.decode()

    def _is_ready(self) -> bool:
        return self.health()[0] == 200


def write_settings(component: Component, plan: Plan, directory: Path) -> None:
    """Write a component's configuration, as an operator would."""
    place, etcd = component.place, directory / "etcd"
    lines = [
        f"roles = {_toml([place.role])}",
        f"data = {_toml(component.data)}",
        f"zone = {_toml(place.zone)}",
        f"port = {place.public_port}",
        *(["insecure = true", f"host = {_toml(place.host)}"] if place.host != LOOPBACK else []),
        *(["workers = " + str(plan.shape.workers)] if place.role == "proxy" else []),
        "",
        "[admin]",
        f"host = {_toml(place.host)}",
        f"port = {place.admin_port}",
        "",
        "[peer]",
        f"host = {_toml(place.host)}",
        f"port = {place.peer_port}",
        "",
        "[etcd]",
        f"endpoints = {_toml([f'{plan.shape.host}:{plan.etcd_client_port}'])}",
        f"ca = {_toml(etcd / 'ca.pem')}",
        f"cert = {_toml(etcd / 'client.pem')}",
        f"key = {_toml(etcd / 'client.key')}",
    ]
    if place.role != "control":
        lines += ["", "[join]", f"token_file = {_toml(component.token_file)}"]
    elif plan.shape.has_postgresql:
        server = f"127.0.0.1:{plan.postgresql_port}"
        lines += [
            "",
            "[control]",
            f'store = "postgresql://{SUPERUSER}@{server}/{DATABASE}"',
            f"store_password_file = {_toml(directory / 'control.password')}",
            f"key_file = {_toml(directory / 'control.key')}",
        ]
    component.config = component.directory / "config.toml"
    component.config.write_text("\n".join(lines) + "\n")


def etcd_of(plan: Plan, directory: Path) -> tuple[EtcdServer, EtcdTls]:
    """Prepare etcd, and what clients know it by: certificates of a new authority at each call."""
    directory.mkdir(parents=True, exist_ok=True)
    authority = Authority("etcd", host=plan.shape.host)
    client = authority.client("dstore")
    options = authority.server_options(directory)
    assert client.certificate is not None
    assert client.private_key is not None
    (directory / "client.pem").write_bytes(client.certificate)
    write_private(directory / "client.key", client.private_key)
    server = EtcdServer(
        directory=directory,
        options=options,
        scheme="https",
        host=plan.shape.host,
        client_port=plan.etcd_client_port,
        peer_port=plan.etcd_peer_port,
        prefix=TIED,
    )
    return server, client


def postgresql_of(plan: Plan, directory: Path) -> PostgreSQL | None:
    """Prepare PostgreSQL, if the plan has one; its password stays from start to start."""
    if not plan.shape.has_postgresql:
        return None
    directory.mkdir(parents=True, exist_ok=True)
    file = directory.parent / "control.password"
    if not file.exists():
        write_private(file, secrets.token_hex(16).encode() + b"\n")
    return PostgreSQL(
        directory, port=plan.postgresql_port, password=file.read_text(encoding="ascii").strip()
    )


def _toml(value: list[str] | str | Path) -> str:
    return json.dumps(value if isinstance(value, list) else os.fspath(value))
