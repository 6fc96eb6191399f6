"""A whole cluster on this machine: real processes, real etcd with TLS, joined by tokens.

    with running_cluster(Shape(nodes=3, proxies=2)) as cluster:
        with cluster.client() as client:              # the operator, through proxy-1
            assert client.put("/v1/tenant/acme").status == 201
        cluster.component("proxy-1").kill()           # as a crash would
        cluster.etcd.stop()
        cluster.restart()                             # everything, from what is on disk

`scripts/devcluster` is this, with words around it. `cluster_plan` says what lies where. Control's
`client.env` names the operator's token; everything else is asked for over the APIs. Only processes
that were started here are signalled, each by its id, and none of them outlives who started it.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, Final

from dstore.base.limits import CREDENTIALS_POLL_S
from dstore.base.private_files import write_private
from dstore.security.credentials import AccessKey, AccessKeyId
from tests.benchmarks.dynamodb_endpoint import Endpoint, Unanswered
from tests.support.cluster_parts import (
    DATABASE,
    Component,
    etcd_of,
    postgresql_of,
    write_settings,
)
from tests.support.cluster_plan import Place, Plan, Shape
from tests.support.http_client import Client, NoAnswer
from tests.support.ports import lasting_ports
from tests.support.server import READY_S

DEFAULT_TENANT: Final = "default"
REGION: Final = "us-east-1"
CLIENT_ENV: Final = "client.env"
_POLL_S: Final = 0.05
_AT_WORK: Final = frozenset({"okay", "maintenance"})  # what an operator has said of it lasts
_TAKEN_UP_S: Final = 15.0  # until what control decided has reached every component


class Refused(Exception):
    """The cluster answered something else than it was asked for; the message has the answer."""


class Cluster:
    """Everything of one cluster; `start` and `stop` do all of it, each part does its own."""

    def __init__(
        self, directory: Path, shape: Shape, *, say: Callable[[str], None] | None = None
    ) -> None:
        """Prepare; nothing runs before `start`.

        Args:
            directory: for everything; what an earlier cluster left there is gone on with.
            shape: how many processes of what.
            say: is told of each step, in a line.
        """
        self.directory = directory
        self.plan = Plan.of(directory, shape)
        self.etcd, self.etcd_tls = etcd_of(self.plan, directory / "etcd")
        self.postgresql = postgresql_of(self.plan, directory / "postgresql")
        self.components = {
            place.name: Component(place, directory / place.name) for place in self.plan.places
        }
        self._say = say or (lambda _line: None)
        self._clients = ExitStack()

    # ----------------------------------------------------------------------------- start and stop

    def start(self) -> None:
        """Start what does not run, join what has not joined, and wait until all of it is ready."""
        self._start_foundations()
        for control in self.of_role("control"):
            self._started([control])
        joining = [*self.of_role("node"), *self.of_role("proxy")]
        for component in joining:
            if not component.has_joined:
                component.give_token(self.join_token(component.place.role))
        self._started(joining)
        self._await_members()
        self._write_client_env()

    def stop(self) -> None:
        """Stop everything, in an order in which nobody misses anybody."""
        for role in ("proxy", "node", "control"):
            running = [one for one in self.of_role(role) if one.is_running]
            for component in running:
                component.terminate()
            for component in running:
                self._say(f"{component.place.name} stopped ({component.wait()})")
        if self.postgresql is not None and self.postgresql.is_running():
            self.postgresql.stop()
            self._say("PostgreSQL stopped")
        self.etcd.stop()
        self._say("etcd stopped")

    def kill(self) -> None:
        """End everything at once, as a loss of power would; harmless if it has ended."""
        self._clients.close()
        for component in self.components.values():
            component.kill()
        if self.postgresql is not None and self.postgresql.is_running():
            self.postgresql.stop(mode="immediate")
        self.etcd.stop()

    def restart(self) -> None:
        """Stop everything and start it again from what is on disk."""
        self.stop()
        self.start()

    # ---------------------------------------------------------------------------------- who there

    def of_role(self, role: str) -> tuple[Component, ...]:
        """Give the components of a role, in their order."""
        return tuple(one for one in self.components.values() if one.place.role == role)

    def component(self, name: str) -> Component:
        """Find `node-2`."""
        return self.components[name]

    @contextmanager
    def guest(self, role: str) -> Iterator[Component]:
        """Lend one more component, on a directory of its own and without a token.

        The caller starts it; at the end it is killed and its directory is gone.
        """
        ports = lasting_ports(3)
        place = Place(
            name=f"{role}-{len(self.of_role(role)) + 1}",
            public_port=ports[0],
            peer_port=ports[1],
            admin_port=ports[2],
        )
        component = Component(place, self.directory / place.name)
        write_settings(component, self.plan, self.directory)
        self.components[place.name] = component
        try:
            yield component
        finally:
            component.kill()
            del self.components[place.name]
            shutil.rmtree(component.directory)

    # ------------------------------------------------------------------------------- how to speak

    @property
    def operator_token(self) -> str:
        """Return the operator's bearer token, as the first control made it."""
        return self.component("control-1").env()["DSTORE_TOKEN"]

    @property
    def access_key(self) -> AccessKey:
        """Return the access key of the tenant `default` that `client.env` names."""
        held = dict(line.split("=", 1) for line in _lines(self.directory / CLIENT_ENV))
        return AccessKey(
            id=AccessKeyId(held["AWS_ACCESS_KEY_ID"]), secret=held["AWS_SECRET_ACCESS_KEY"]
        )

    def client(self, proxy: str = "proxy-1", *, token: str | None = None) -> Client:
        """Make a client of a proxy, the operator's unless a token is given."""
        place = self.component(proxy).place
        return Client(place.public_url, token=token or self.operator_token)

    def sdk(self, url: str, *, attempts: int = 5, timeout_s: float = 20.0) -> Any:
        """Make a DynamoDB client of the tenant `default`; it is closed when the cluster ends."""
        from tests.support.sdk_load import (
            sdk_client,
        )  # boto3, which scripts/devcluster can do without

        client = sdk_client(url, self.access_key, attempts=attempts, timeout_s=timeout_s)
        self._clients.callback(client.close)
        return client

    def admin(self, control: str = "control-1") -> Client:
        """Make the operator's client of a control."""
        return Client(self.component(control).place.admin_url, token=self.operator_token)

    def join_token(self, role: str, *, life_s: int | None = None) -> str:
        """Have control make a join token. Raises: Refused."""
        body = {"role": role} | ({} if life_s is None else {"lifeSeconds": life_s})
        text: str = self._asked("POST", "/admin/v1/join-token", body)["token"]
        return text

    def listed(self, role: str) -> list[dict[str, Any]]:
        """List the components of a role as control shows them. Raises: Refused."""
        plural = {"node": "nodes", "proxy": "proxies", "control": "controls"}[role]
        found: list[dict[str, Any]] = self._asked("GET", f"/admin/v1/{role}")[plural]
        return found

    def new_access_key(self, tenant: str) -> AccessKey:
        """Make an access key, and wait until every proxy takes it. Raises: Refused."""
        made = self._asked("POST", f"/admin/v1/tenant/{tenant}/access-key", {})
        key = AccessKey(id=AccessKeyId(made["id"]), secret=made["secret"])
        for proxy in self.of_role("proxy"):
            if proxy.is_running:
                endpoint = Endpoint(name=proxy.place.name, url=proxy.url, key=key, pid=proxy.pid)
                eventually(partial(_takes, endpoint), what=f"{proxy.place.name} takes a new key")
        if self.plan.shape.workers > 1:
            time.sleep(2 * CREDENTIALS_POLL_S)  # each worker hears of it by itself
        return key

    # --------------------------------------------------------------------------------------- parts

    def _start_foundations(self) -> None:
        self.directory.chmod(0o755)  # PostgreSQL runs as another user if we are root
        began = time.monotonic()
        if not self.etcd.is_running:
            self.etcd.start()
            self._say(f"etcd is ready at https://{self.etcd.address} {_since(began)}")
        began = time.monotonic()
        if self.postgresql is not None and not self.postgresql.is_running():
            self.postgresql.start()
            self.postgresql.socket_directory.chmod(0o700)  # it asks for no password there
            self.postgresql.ensure_database(DATABASE)
            self._say(f"PostgreSQL is ready on port {self.postgresql.port} {_since(began)}")
        for component in self.components.values():
            write_settings(component, self.plan, self.directory)

    def _started(self, components: Iterable[Component]) -> None:
        began = time.monotonic()
        launched = [one for one in components if not one.is_running]
        for component in launched:
            component.launch()
        for component in launched:
            try:
                component.wait_ready(timeout_s=READY_S * 2)
            except Exception as error:
                error.add_note(f"while {component.place.name} was started")
                raise
            self._say(f"{component.place.name} is ready at {component.url} {_since(began)}")

    def _await_members(self) -> None:
        """Wait until control knows every node and proxy to be at work: placement uses them."""
        deadline = time.monotonic() + READY_S
        for role in ("node", "proxy"):
            wanted = len(self.of_role(role))
            while True:
                found = self.listed(role)
                well = [one for one in found if one["health"] in _AT_WORK]
                if len(well) >= wanted:
                    break
                if time.monotonic() > deadline:
                    raise Refused(f"control sees of {wanted} {role} components: {found}")
                time.sleep(_POLL_S)

    def _write_client_env(self) -> None:
        """Write what clients need, as a stand-alone node does; the access key is made once."""
        path = self.directory / CLIENT_ENV
        held = dict(line.split("=", 1) for line in _lines(path))
        url = self.component("proxy-1").place.public_url
        if "AWS_ACCESS_KEY_ID" not in held:
            with self.client() as client:
                answer = client.put(f"/v1/tenant/{DEFAULT_TENANT}")
                if answer.status not in {200, 201}:
                    raise Refused(f"the tenant {DEFAULT_TENANT}: {answer.status} {answer.body!r}")
            key = self.new_access_key(DEFAULT_TENANT)
            held |= {"AWS_ACCESS_KEY_ID": key.id, "AWS_SECRET_ACCESS_KEY": key.secret}
        held |= {
            "DSTORE_URL": url,
            "DSTORE_ADMIN_URL": self.component("control-1").place.admin_url,
            "DSTORE_TOKEN": self.operator_token,
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_ENDPOINT_URL_DYNAMODB": url,
            "AWS_ENDPOINT_URL_DYNAMODB_STREAMS": url,
        }
        write_private(path, "".join(f"{name}={held[name]}\n" for name in sorted(held)).encode())

    def _asked(self, method: str, path: str, body: object = None) -> Any:
        with self.admin() as admin:
            answer = admin.request(method, path, body)
        if answer.status not in {200, 201}:
            raise Refused(f"{method} {path}: {answer.status} {answer.body.decode()}")
        return answer.json()


def eventually(
    is_so: Callable[[], bool], *, what: str, within_s: float = _TAKEN_UP_S, poll_s: float = _POLL_S
) -> float:
    """Wait for something that takes a moment to get around. Returns: the seconds that took.

    A request that is not answered counts as "not yet". Raises: AssertionError: it is not so in
    time.
    """
    began = time.monotonic()
    while time.monotonic() < began + within_s:
        with suppress(NoAnswer):
            if is_so():
                return time.monotonic() - began
        time.sleep(poll_s)
    raise AssertionError(f"After {within_s} s it is not so that {what}.")


@contextmanager
def running_cluster(
    shape: Shape | None = None,
    *,
    say: Callable[[str], None] | None = None,
    control_settings: Mapping[str, str] | None = None,
) -> Iterator[Cluster]:
    """Start a cluster in a scratch directory; at the end kill what runs and remove it.

    The directory's path is short: it holds a socket of PostgreSQL's.
    """
    directory = Path(tempfile.mkdtemp(prefix="dstore-cluster-"))
    cluster = Cluster(directory, shape or Shape(), say=say)
    for control in cluster.of_role("control"):
        control.settings.update(control_settings or {})
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.kill()
        shutil.rmtree(directory, ignore_errors=True)


def _takes(endpoint: Endpoint) -> bool:
    try:
        endpoint.call("ListTables", {})
    except Unanswered:
        return False
    return True


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except FileNotFoundError:
        return []


def _since(began: float) -> str:
    return f"({time.monotonic() - began:.1f} s)"
