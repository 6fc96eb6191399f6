"""Every field that is logged can be read: none has a name that redaction hides."""

import ast
from pathlib import Path

from dstore.base.redaction import HIDDEN, redact

PACKAGE = Path(__file__).parents[2] / "dstore"
_LEVELS = frozenset({"debug", "info", "warning", "error"})


def _logged(tree: ast.Module) -> list[tuple[int, str]]:
    """Find the line and name of each field in calls such as `_log.info("event", field=...)`."""
    calls = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in _LEVELS
        and isinstance(node.func.value, ast.Name)
        and node.func.value.id in {"_log", "_audit"}
    ]
    return [
        (call.lineno, field.arg)
        for call in calls
        for field in call.keywords
        if field.arg is not None and field.arg != "exc_info"
    ]


def test_no_field_is_logged_to_be_hidden() -> None:
    """Who looks into the log for the very thing that is hidden there finds nothing."""
    hidden = [
        f"{path.relative_to(PACKAGE)}:{line} {name}"
        for path in sorted(PACKAGE.rglob("*.py"))
        for line, name in _logged(ast.parse(path.read_text()))
        if all(redact({name: value})[name] == HIDDEN for value in ("seen", 1))
    ]
    assert hidden == []
