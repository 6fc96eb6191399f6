"""The import law of pyproject.toml holds, and covers every vendor."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]

# A library without a home of its own: msgspec encodes everywhere.
HOMELESS = {"msgspec"}
IMPORTED_AS = {"grpcio": "grpc"}


def test_imports_go_down_only() -> None:
    """STYLE rule 1: one direction, and a machine checks it."""
    program = Path(sys.executable).parent / "lint-imports"
    run = subprocess.run([program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout[run.stdout.find("Contracts") :]


def test_every_vendor_has_a_home() -> None:
    """STYLE rule 3: one vendor, one module; a new dependency needs its contract."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    extras = project["project"]["optional-dependencies"]
    vendors = _names(project["project"]["dependencies"])
    optional = _names([each for name in extras if name != "dev" for each in extras[name]])
    housed = {
        vendor
        for contract in project["tool"]["importlinter"]["contracts"]
        for vendor in contract.get("forbidden_modules", ())
    }
    assert vendors - HOMELESS == housed - optional


def _names(requirements: list[str]) -> set[str]:
    names = {re.split(r"[^\w-]", each)[0].replace("-", "_") for each in requirements}
    return {IMPORTED_AS.get(name, name) for name in names}
