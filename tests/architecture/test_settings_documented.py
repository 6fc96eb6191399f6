"""The samples under config/ name every setting, and tell the truth."""

import re
from pathlib import Path

import pytest

from dstore.setting_rows import SETTINGS
from dstore.settings import load

CONFIG = Path(__file__).parents[2] / "config"


def test_sample_with_every_line_taken_in_is_the_defaults(tmp_path: Path) -> None:
    """The sample is where an operator looks first; a default that changed must change there."""
    sample = (CONFIG / "dstore.toml").read_text()
    uncommented = tmp_path / "dstore.toml"
    uncommented.write_text(re.sub(r"(?m)^#(?=[a-z])", "", sample))
    given, defaults = load(config=uncommented), load()
    for setting in SETTINGS:
        if setting.default is not None:  # those without one are shown by example
            assert getattr(given, setting.field) == getattr(defaults, setting.field), setting.name


def test_sample_names_and_explains_every_setting() -> None:
    """A setting that the sample leaves out is a setting nobody finds."""
    sample = (CONFIG / "dstore.toml").read_text()
    flowing = re.sub(r"\n# ", " ", sample)
    table = ""
    shown = []
    for line in sample.splitlines():
        if section := re.fullmatch(r"\[(\w+)\]", line):
            table = section[1] + "."
        elif key := re.match(r"#(\w+) = ", line):
            shown.append(table + key[1])
    assert [setting.name for setting in SETTINGS] == shown
    assert [setting.name for setting in SETTINGS if setting.help not in flowing] == []


def test_sample_as_it_stands_changes_nothing() -> None:
    """Who copies the sample gets what he had without it."""
    assert load(config=CONFIG / "dstore.toml") == load()


@pytest.mark.parametrize("path", sorted(CONFIG.glob("*.toml")), ids=lambda path: path.name)
def test_every_sample_loads(path: Path) -> None:
    """A sample that is refused is worse than none."""
    load(config=path)


def test_every_setting_is_explained_once_in_the_readme_or_the_sample() -> None:
    """Two rows of one name would overrule each other silently."""
    names = [setting.name for setting in SETTINGS]
    assert sorted(set(names)) == sorted(names)
    assert len({setting.flag for setting in SETTINGS}) == len(names)
