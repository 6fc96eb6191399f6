"""The documents name files that are there, and link to pages that are there."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCUMENTS = (
    ROOT / "README.md",
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "docs" / "adr").glob("*.md")),
)
_LINK = re.compile(r"\]\(([^)#]+)(?:#[^)]*)?\)")
_NAMED = re.compile(r"`((?:[a-z_0-9]+/)+(?:[a-z_0-9]+\.(?:py|md|toml|sql))?)`")
# A document names a file from the root, or from the package, or from the folder that it is about.
_PACKAGE = ROOT / "dstore"
_FROM = (ROOT, _PACKAGE, _PACKAGE / "service", _PACKAGE / "api", _PACKAGE / "api" / "dynamodb")


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(document: Path) -> None:
    """Who moves a page takes its links along."""
    dead = [
        link
        for link in _LINK.findall(document.read_text())
        if "://" not in link and not (document.parent / link).exists()
    ]
    assert dead == []


def _named_in_architecture() -> Iterator[str]:
    yield from _NAMED.findall((ROOT / "docs" / "ARCHITECTURE.md").read_text())
    yield from _NAMED.findall((ROOT / "README.md").read_text())


def test_every_file_that_is_named_is_there() -> None:
    """Whoever looks for a noun finds its file where the page says."""
    gone = {
        name
        for name in _named_in_architecture()
        if not any((folder / name).exists() for folder in _FROM)
    }
    assert gone == set()
