"""Finding one credential in a list of them: the admin API lists them and never shows one."""

import json
from collections.abc import Iterable
from typing import Any

from dstore.cli.failures import ExitCode, Failure
from dstore.cli.output import Page


def require_listed(pages: Iterable[Page], wanted: str, what: str) -> dict[str, Any]:
    """Return the row with an id.

    Raises: Failure(NOT_FOUND): no row has it.
    """
    for page in pages:
        for row in page.rows:
            found: dict[str, Any] = json.loads(row)
            if found.get("id") == wanted:
                return found
    raise Failure(
        f"There is no {what} {wanted}; the list command shows those there are.",
        exit_code=ExitCode.NOT_FOUND,
    )
