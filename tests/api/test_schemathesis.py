"""schemathesis against /openapi.json of the running server, with the operator's token.

It draws good and bad requests from the description, and walks from answer to answer. What is
checked: no 5xx, no undocumented status, content type, header or body. Random names would nearly
always be 404, so half of the time the names of things that exist are drawn.
"""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any, Final

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

from dstore.api.v1.openapi import openapi
from tests.api.contract import CheckedClient
from tests.support.server import Server, running

if TYPE_CHECKING:
    from collections.abc import Iterator

    from schemathesis.specs.openapi.schemas import OpenApiSchema

    Case = schemathesis.Case[Any]

CHECKS: Final = (
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    unsupported_method,
)
NAMES: Final = {
    "tenant": ["fuzzed", "absent"],
    "table": ["Strings", "Integers", "Bytes", "new"],
    "id": ["1", "AAAA", "-7", "a/b é"],
}
BOUNDED: Final = settings(
    max_examples=25,
    stateful_step_count=8,
    deadline=None,
    derandomize=True,
    database=None,
    phases=(Phase.explicit, Phase.generate),
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Run a server for this file alone: a walk deletes whatever tenants it finds in a list."""
    with running(tmp_path_factory.mktemp("fuzzed")) as own:
        yield own


@pytest.fixture(scope="module")
def client(server: Server) -> Iterator[CheckedClient]:
    """Give the operator's client of this file's server."""
    env = server.env()
    with closing(CheckedClient(env["DSTORE_URL"], token=env["DSTORE_TOKEN"])) as made:
        yield made


def begin_anew(client: CheckedClient) -> None:
    """Make the server hold the same again, whatever was done to it: a walk replays only then."""
    for listed in client.get("/v1/tenant?limit=1000").json()["tenants"]:
        client.delete(f"/v1/tenant/{listed['tenant']}?force=true")
    client.put("/v1/tenant/fuzzed")
    for name, id_type in (("Strings", "String"), ("Integers", "Integer"), ("Bytes", "Bytes")):
        client.put(f"/v1/tenant/fuzzed/table/{name}", {"idType": id_type})
        for entry_id in ("1", "-7", "AAAA"):
            client.put(f"/v1/tenant/fuzzed/table/{name}/id/{entry_id}", {"n": 1})


@pytest.fixture
def description(server: Server, client: CheckedClient) -> OpenApiSchema:
    """Load the description as the server gives it, with names that exist among the values."""
    begin_anew(client)
    document: dict[str, Any] = client.get("/openapi.json").json()
    for described in document["paths"].values():
        for parameter in described.get("parameters", []):
            if parameter["name"] in NAMES:
                parameter["schema"] = {"enum": NAMES[parameter["name"]]}
    schema = schemathesis.openapi.from_dict(document)
    schema.config.update(
        base_url=server.env()["DSTORE_URL"],
        headers={"Authorization": f"Bearer {client.token}"},
    )
    return schema


OPERATIONS: Final = sorted(
    operation["operationId"]
    for path in openapi()["paths"].values()
    for verb, operation in path.items()
    if verb != "parameters"
)


@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: mode.value)
@pytest.mark.parametrize("operation_id", OPERATIONS)
def test_each_operation(
    description: OpenApiSchema, operation_id: str, mode: GenerationMode
) -> None:
    """Good data and bad data for every operation: what is answered is described."""
    operation = description.find_operation_by_id(operation_id)

    @BOUNDED
    @given(case=operation.as_strategy(generation_mode=mode))
    def send(case: Case) -> None:
        case.call_and_validate(checks=list(CHECKS))

    send()


def test_walks(description: OpenApiSchema, client: CheckedClient) -> None:
    """Operations one after another, each with what the former ones answered."""

    class Walk(description.as_state_machine()):  # type: ignore[misc]  # made at run time
        def setup(self) -> None:
            """Begin every walk from the same place."""
            begin_anew(client)

        def validate_response(self, response: Any, case: Case, **_: Any) -> None:
            """Check what the other test checks."""
            case.validate_response(response, checks=list(CHECKS))

    Walk.run(settings=BOUNDED)
