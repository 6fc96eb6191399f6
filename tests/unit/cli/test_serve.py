"""`dstore serve`: flags become settings, and what can't be is refused before anything starts."""

import sys
from types import ModuleType

import pytest

from dstore.cli.failures import ExitCode
from dstore.setting_rows import SETTINGS
from dstore.settings import Settings
from tests.unit.cli.conftest import Run


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[Settings]:
    """Stand in for the daemon: remember the settings and end with 7."""
    seen: list[Settings] = []

    def run(settings: Settings) -> int:
        seen.append(settings)
        return 7

    daemon = ModuleType("dstore.daemon")
    daemon.run = run  # type: ignore[attr-defined]  # a module made for the test
    monkeypatch.setitem(sys.modules, "dstore.daemon", daemon)
    return seen


def test_flags_become_settings(run: Run, started: list[Settings]) -> None:
    """Each kind of flag once; the daemon's exit code is the process's."""
    result = run(
        *("serve", "--port", "0", "--role", "node", "--role", "all", "--insecure"),
        *("--page-cache-bytes", "128MiB", "--log-level", "error", "--drain-timeout-s", "1.5"),
    )
    assert result.exit_code == 7
    (settings,) = started
    assert settings.port == 0
    assert settings.roles == ("node", "all")
    assert settings.insecure is True
    assert settings.page_cache_bytes == 128 * 1_024 * 1_024
    assert settings.log_level == "error"
    assert settings.drain_timeout_s == pytest.approx(1.5)


def test_flag_overrules_variable(
    run: Run, started: list[Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A boolean can be taken back too."""
    monkeypatch.setenv("DSTORE_PORT", "1234")
    monkeypatch.setenv("DSTORE_LOG_LEVEL", "debug")
    monkeypatch.setenv("DSTORE_INSECURE", "true")
    run("serve", "--port", "99", "--no-insecure")
    assert started[0].port == 99
    assert started[0].log_level == "debug"
    assert started[0].insecure is False


@pytest.mark.parametrize(
    "args",
    [
        ("--port", "70000"),
        ("--host", "0.0.0.0"),  # noqa: S104 - refused without TLS
        ("--log-level", "loud"),
        ("--config", "nowhere.toml"),
        ("--tls-cert", "cert.pem"),
    ],
)
def test_bad_setting_is_wrong_usage(
    run: Run, started: list[Settings], args: tuple[str, ...]
) -> None:
    """A sentence and 2, before a directory is made or a port taken."""
    result = run("serve", *args)
    assert result.exit_code == ExitCode.USAGE
    assert result.stdout == ""
    assert started == []


def test_every_setting_has_its_flag(run: Run) -> None:
    """A row in SETTINGS is all it takes."""
    shown = run("serve", "--help").stdout
    assert [setting.flag for setting in SETTINGS if setting.flag not in shown] == []
