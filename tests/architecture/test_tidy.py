"""House rules that no linter knows: sizes, forbidden calls, names and words."""

import ast
import re
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

# One worker reads and parses the files, for all of these tests.
pytestmark = pytest.mark.xdist_group("tidy")

ROOT = Path(__file__).parents[2]
FILE_LINES_MAX = 500
FUNCTION_LINES_MAX = 70

# Only dstore/base may ask the machine for time or randomness, so that every seed replays (I13).
IMPURE_CALLS = {
    "time.time",
    "time.time_ns",
    "time.monotonic",
    "time.monotonic_ns",
    "time.perf_counter",
    "time.perf_counter_ns",
    "time.clock_gettime",
    "time.clock_gettime_ns",
    "datetime.now",
    "datetime.utcnow",
    "datetime.today",
    "date.today",
    "os.urandom",
    "os.getrandom",
    "uuid.uuid1",
    "uuid.uuid4",
}
IMPURE_MODULES = {"random", "secrets"}
VAGUE_NAMES = re.compile(r"(?i)(utils?|helpers?|managers?|misc)")
# Assembled, so that this file does not contain what it looks for.
UNFINISHED = re.compile(r"\b(TO" r"DO|FIX" r"ME|XX" r"X|HA" r"CK)\b")
HALF_BUILT = re.compile(
    r"(?i)\b(NotImplemented" r"Error|for " r"now|place" r"holder|dum" r"my|st" r"ub)\b"
)
MACHINE = re.compile(
    r"(?<![\w./-])/(work|root|tmp/(vt|plan))/|\b(pypi|pythonhosted|npmjs|crates|debian)\.(org|io|com)\b"
)


@cache
def tracked() -> tuple[Path, ...]:
    """Every file that git keeps and that still exists."""
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    paths = (ROOT / name for name in listed.split("\0") if name)
    return tuple(path for path in paths if path.is_file())


@cache
def sources(folder: str) -> tuple[tuple[str, ast.Module], ...]:
    """Parse every Python file under a folder."""
    return tuple(
        (str(path.relative_to(ROOT)), ast.parse(path.read_text()))
        for path in tracked()
        if path.suffix == ".py" and path.is_relative_to(ROOT / folder)
    )


def texts() -> Iterator[tuple[str, str]]:
    """Read every tracked text, this file and the licence left out."""
    for path in tracked():
        name = str(path.relative_to(ROOT))
        content = path.read_bytes()
        if b"\0" not in content and name != "LICENSE" and path != Path(__file__):
            yield name, content.decode()


def functions(tree: ast.Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Walk the functions of a file, nested ones included."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def matches(pattern: re.Pattern[str], prefixes: tuple[str, ...] = ("",)) -> list[str]:
    """Find a pattern in the tracked texts, as file:line."""
    return [
        f"{name}:{number} {line.strip()}"
        for name, content in texts()
        if name.startswith(prefixes)
        for number, line in enumerate(content.splitlines(), 1)
        if pattern.search(line)
    ]


def test_files_are_short() -> None:
    """STYLE 2.4: what reads well is small."""
    long = [
        f"{name}: {content.count(chr(10))} lines"
        for name, content in texts()
        if name.endswith((".py", ".sql")) or name.startswith("scripts/")
        if content.count("\n") > FILE_LINES_MAX
    ]
    assert long == []


@pytest.mark.parametrize("folder", ["dstore", "tests", "scripts"])
def test_functions_are_short(folder: str) -> None:
    """STYLE 2.4: a function fits on a screen, its docstring included."""
    long = [
        f"{name}:{function.lineno} {function.name}"
        for name, tree in sources(folder)
        for function in functions(tree)
        if (function.end_lineno or 0) - function.lineno + 1 > FUNCTION_LINES_MAX
    ]
    assert long == []


def _impure(node: ast.AST) -> str | None:
    match node:
        case ast.Attribute(value=ast.Name(id=owner), attr=attribute):
            name = f"{owner}.{attribute}"
            return name if name in IMPURE_CALLS else None
        case ast.Attribute(value=ast.Attribute(attr=owner), attr=attribute):
            name = f"{owner}.{attribute}"
            return name if name in IMPURE_CALLS else None
        case ast.Import(names=aliases):
            return next((a.name for a in aliases if a.name in IMPURE_MODULES), None)
        case ast.ImportFrom(module=module, names=aliases):
            if module in IMPURE_MODULES:
                return module
            return next((a.name for a in aliases if f"{module}.{a.name}" in IMPURE_CALLS), None)
        case _:
            return None


def test_time_and_randomness_come_through_the_ports() -> None:
    """I13: a seed replays only if nothing else asks the machine."""
    asked = [
        f"{name}:{getattr(node, 'lineno', 0)} {impure}"
        for name, tree in sources("dstore")
        if not name.startswith("dstore/base/")
        for node in ast.walk(tree)
        if (impure := _impure(node))
    ]
    assert asked == []


def test_no_wait_for() -> None:
    """On Python 3.11 it swallows a cancellation (RELIABILITY.md 1.3); asyncio.timeout does not."""
    used = [
        f"{name}:{node.lineno}"
        for folder in ("dstore", "tests", "scripts")
        for name, tree in sources(folder)
        for node in ast.walk(tree)
        if (isinstance(node, ast.Attribute) and node.attr == "wait_for")
        or (isinstance(node, ast.Name) and node.id == "wait_for")
    ]
    assert used == []


def test_nothing_is_left_unfinished() -> None:
    """What is not built is not there; what is there is true."""
    assert matches(UNFINISHED) == []
    assert matches(HALF_BUILT, ("dstore/", "scripts/")) == []


def test_names_say_what_a_thing_is() -> None:
    """STYLE 2.4: a vague name gathers everything."""
    vague = [
        name
        for path in tracked()
        for name in path.relative_to(ROOT).with_suffix("").parts
        if any(VAGUE_NAMES.fullmatch(word) for word in name.split("_"))
    ]
    vague += [
        f"{name}:{node.lineno} {node.name}"
        for name, tree in sources("dstore")
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef) and re.search(r"(Manager|Helper|Utils?)$", node.name)
    ]
    assert vague == []


def test_no_file_knows_the_machine_it_was_written_on() -> None:
    """A checkout works anywhere; where packages come from is the machine's business."""
    assert matches(MACHINE) == []


def test_every_test_says_why_it_exists() -> None:
    """STYLE 2.8: one sentence; who breaks the test reads it first."""
    silent = [
        f"{name}:{function.lineno} {function.name}"
        for name, tree in sources("tests")
        for function in functions(tree)
        if function.name.startswith("test_") and not ast.get_docstring(function)
    ]
    assert silent == []


def test_no_package_is_an_empty_shell() -> None:
    """A folder exists when something is in it."""
    packages = {path.parent for path in tracked() if path.name == "__init__.py"}
    empty = [
        str(package.relative_to(ROOT))
        for package in packages
        if package.is_relative_to(ROOT / "dstore")
        if not [
            path for path in tracked() if package in path.parents and path.name != "__init__.py"
        ]
    ]
    assert empty == []


def test_every_python_folder_of_dstore_is_a_package() -> None:
    """A folder without __init__.py is outside the import law."""
    folders = {path.parent for path in tracked() if path.suffix == ".py"}
    outside = [
        str(folder.relative_to(ROOT))
        for folder in folders
        if folder.is_relative_to(ROOT / "dstore") and not (folder / "__init__.py").is_file()
    ]
    assert outside == []
