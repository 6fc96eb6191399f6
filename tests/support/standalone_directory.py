"""A data directory as a stand-alone node left it before there was a control plane.

The archive was made by the code of commit 3cee144, stopped in good order: `data/`, with two
tenants, five tables and credentials, and `facts.json`, which says what a client saw of it.
"""

from __future__ import annotations

import json
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

ARCHIVE: Final = Path(__file__).parents[1] / "data" / "standalone_node.tar.xz"
NAMES: Final = {f"n{number}": {"value": number, "text": "old " * 5} for number in range(20)}
SQUARES: Final = {str(number): {"square": number * number} for number in range(20)}
DELETED: Final = "n3"


@dataclass(frozen=True, kw_only=True)
class StandaloneDirectory:
    """A copy of it, to be opened; `facts` are what was seen when it was made."""

    data: Path
    facts: dict[str, Any]


def unpacked(folder: Path) -> StandaloneDirectory:
    """Unpack a copy into an empty folder."""
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(folder)  # noqa: S202 - our own; Python 3.11.2 has no filters
    facts = json.loads((folder / "facts.json").read_text())
    return StandaloneDirectory(data=folder / "data", facts=facts)
