"""What a process that is killed leaves: copies of a directory at every step that changes it."""

from __future__ import annotations

import os
from contextlib import contextmanager
from shutil import copytree
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_STEPS = ("fsync", "replace", "rename", "unlink", "ftruncate")


@contextmanager
def snapshots(directory: Path, kept: Path) -> Iterator[list[Path]]:
    """Copy a directory before each call that changes what a crash would leave.

    Yields: the copies so far, under `kept`, in order.
    """
    copies: list[Path] = []
    with pytest.MonkeyPatch.context() as patched:

        def watch(name: str) -> None:
            original = getattr(os, name)

            def call(*args: object, **options: object) -> object:
                copy = kept / f"{len(copies):03}-{name}"
                copies.append(copy)
                copytree(directory, copy)
                return original(*args, **options)

            patched.setattr(os, name, call)

        for name in _STEPS:
            watch(name)
        yield copies
