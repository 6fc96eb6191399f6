"""schemathesis against /openapi.json of the running server, with the operator's token.

It draws good and bad requests from the description, and walks from answer to answer. What is
checked: no 5xx, no undocumented status, content type, header or body. Random names would nearly
always be 404, so half of the time the names of things that exist are drawn.
"""

from __future__ import annotations

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

if TYPE_CHECKING:
    from schemathesis.specs.openapi.schemas import OpenApiSchema

    Case = schemathesis.Case[Any]

    from tests.api.contract import CheckedClient
    from tests.support.server import Server

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


@pytest.fixture
def description(server: Server, client: CheckedClient) -> OpenApiSchema:
    """Load the description as the server gives it, with names that exist among the values."""
    client.put("/v1/tenant/fuzzed")
    for name, id_type in (("Strings", "String"), ("Integers", "Integer"), ("Bytes", "Bytes")):
        client.put(f"/v1/tenant/fuzzed/table/{name}", {"idType": id_type})
        for entry_id in ("1", "-7", "AAAA"):
            client.put(f"/v1/tenant/fuzzed/table/{name}/id/{entry_id}", {"n": 1})
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


def test_walks(description: OpenApiSchema) -> None:
    """Operations one after another, each with what the former ones answered."""

    class Walk(description.as_state_machine()):  # type: ignore[misc]  # made at run time
        def validate_response(self, response: Any, case: Case, **_: Any) -> None:
            """Check what the other test checks."""
            case.validate_response(response, checks=list(CHECKS))

    Walk.run(settings=BOUNDED)
