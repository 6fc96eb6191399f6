"""Files of items: cut into objects wherever a chunk ends, and never silently short."""

import gzip
import io
import json
from pathlib import Path
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dstore.cli import item_files
from dstore.cli.failures import ExitCode, Failure
from dstore.cli.item_files import ItemFile

OBJECTS = [{"a": 1}, {"b": {"c": '}{\\" \n'}}, {}, {"é": [{"d": '"'}, "[", "\\"]}]


def read(path: Path) -> list[tuple[int, bytes]]:
    file = ItemFile(str(path))
    try:
        return [(found.line, found.text) for found in file.objects()]
    finally:
        file.close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("files")


@given(
    chunk_bytes=st.integers(1, 40),
    indent=st.sampled_from([None, 2]),
    shape=st.sampled_from(["lines", "array", "glued"]),
    compressed=st.booleans(),
    mark=st.booleans(),
)
def test_every_shape_and_every_chunk_gives_the_same_objects(
    folder: Path, chunk_bytes: int, indent: int | None, shape: str, compressed: bool, mark: bool
) -> None:
    """Where a read ends is chance; inside a string, an escape or a character too."""
    texts = [json.dumps(one, indent=indent, ensure_ascii=False) for one in OBJECTS]
    whole = {
        "lines": "\n".join(texts),
        "array": f" [{' , '.join(texts)}]\n",
        "glued": "".join(texts),
    }[shape].encode()
    whole = b"\xef\xbb\xbf" * mark + whole
    path = folder / "items"
    path.write_bytes(gzip.compress(whole) if compressed else whole)
    with patch.object(item_files, "_CHUNK_BYTES", max(chunk_bytes, 3)):
        found = read(path)
    assert [json.loads(text) for _, text in found] == OBJECTS


def test_lines_are_counted(tmp_path: Path) -> None:
    """An error's sentence names the line on which the object begins."""
    path = tmp_path / "items"
    path.write_text('\n{"a":\n1}\n\n{}{}\n{}')
    assert [line for line, _ in read(path)] == [2, 5, 5, 6]


@pytest.mark.parametrize("text", ["", " \n", "[]", "[ \n]\n"])
def test_file_without_objects(tmp_path: Path, text: str) -> None:
    """It is empty, not broken."""
    path = tmp_path / "items"
    path.write_text(text)
    assert read(path) == []


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"a": 1', "breaks off in the object that begins at line 1"),
        ('{"a": "', "breaks off in the object"),
        ('[{"a": 1},\n{"a": 2}', "its array has no end"),
        ('[{"a": 1},', "its array has no end"),
        ('{"a": 1}\n"x"', "something else than a JSON object at line 2"),
        ("[[{}]]", "something else"),
        ("[{} {}]", "something else"),
        ("[{},,{}]", "something else"),
        ("[{}] {}", "something else"),
        ("{},{}", "something else"),
        ("a,b\n1,2", "something else than a JSON object at line 1"),
    ],
)
def test_what_is_cut_short_or_foreign_is_refused(tmp_path: Path, text: str, words: str) -> None:
    """Half a file that passes for a whole one is lost data."""
    path = tmp_path / "items"
    path.write_text(text)
    with pytest.raises(Failure, match=words) as failure:
        read(path)
    assert failure.value.exit_code == ExitCode.USAGE


@pytest.mark.parametrize("damage", [lambda data: data[:-9], lambda data: data[:15] + b"xx" * 20])
def test_damaged_gzip_is_refused(tmp_path: Path, damage: object) -> None:
    """With a sentence, whichever of gzip's errors it is."""
    path = tmp_path / "items"
    assert callable(damage)
    path.write_bytes(damage(gzip.compress(b'{"a": 1}\n' * 50)))
    with pytest.raises(Failure) as failure:
        read(path)
    assert failure.value.exit_code == ExitCode.USAGE


def test_endless_object_is_refused(tmp_path: Path) -> None:
    """The memory of a client is bounded too."""
    path = tmp_path / "items"
    path.write_bytes(b'{"a": "' + b"x" * 5_000)
    small = patch.multiple(item_files, _CHUNK_BYTES=512, BODY_BYTES_MAX=1_024)
    with small, pytest.raises(Failure, match="an object of more than 1024 bytes at line 1"):
        read(path)


def test_file_that_is_not_there() -> None:
    """Found out before anything is sent."""
    with pytest.raises(Failure, match=r"nowhere can't be read: No such file or directory\."):
        ItemFile("nowhere")


def test_size_is_known_of_files_only(tmp_path: Path) -> None:
    """A bar of a pipe has no end to draw."""
    path = tmp_path / "items"
    path.write_text("{}")
    file = ItemFile(str(path))
    assert file.size_bytes == 2
    assert file.read_bytes() == 0
    list(file.objects())
    assert file.read_bytes() == 2
    file.close()
    with patch("sys.stdin", io.TextIOWrapper(io.BytesIO(b"{}"))):
        piped = ItemFile("-")
        assert (piped.size_bytes, piped.read_bytes(), piped.name) == (None, 0, "stdin")
