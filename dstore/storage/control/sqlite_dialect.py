"""How the statements, written in PostgreSQL's spelling, are said to SQLite."""

from __future__ import annotations

from functools import lru_cache


@lru_cache(maxsize=512)
def dialect(statement: str) -> str:
    """Spell a statement as SQLite does: its numbered values, its bytes, its order of texts."""
    return (
        statement.replace("$", "?")
        .replace('COLLATE "C"', "COLLATE BINARY")
        .replace(" BYTEA", " BLOB")
    )
