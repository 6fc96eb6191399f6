"""`dstore serve`: the server; its flags are the rows of `dstore.setting_rows.SETTINGS`."""

import gc
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import click

from dstore import setting_kinds
from dstore.cli.command import Leaf, Word
from dstore.cli.failures import usage
from dstore.setting_rows import SETTINGS, Setting
from dstore.settings import SettingsError, load

_METAVARS: Final[Mapping[setting_kinds.Kind, str]] = {
    setting_kinds.path: "PATH",
    setting_kinds.words: "WORD",
    setting_kinds.addresses: "HOST:PORT",
    setting_kinds.https_url: "URL",
    setting_kinds.command: "COMMAND",
}


def _flags(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give the command one flag for each setting, in the order of the table."""
    for setting in reversed(SETTINGS):
        command = click.option(*_names(setting), setting.field, **_shape(setting))(command)
    return command


def _names(setting: Setting) -> list[str]:
    if setting.kind is setting_kinds.boolean:
        return [f"{setting.flag}/--no-{setting.flag.removeprefix('--')}"]
    return [setting.flag]


def _shape(setting: Setting) -> dict[str, Any]:
    """Describe a flag; the value itself is read by the setting's kind, wherever it comes from."""
    default = setting.default
    shape: dict[str, Any] = {"default": None, "help": f"{setting.help}{_default(default)}"}
    if isinstance(setting.kind, setting_kinds.Choice):
        shape["type"] = Word(setting.kind.options)
    elif setting.kind in {setting_kinds.words, setting_kinds.addresses}:
        shape |= {"multiple": True, "metavar": _METAVARS[setting.kind]}
    elif setting.kind is not setting_kinds.boolean:
        is_number = isinstance(default, int | float)
        shape["metavar"] = _METAVARS.get(setting.kind, "NUMBER" if is_number else "TEXT")
    return shape


def _default(default: object) -> str:
    match default:
        case None | bool():
            return ""
        case tuple():
            return f"  [default: {','.join(default)}]"
        case _:
            return f"  [default: {default}]"


@click.command(cls=Leaf, example="dstore serve --data /var/lib/dstore --port 8000")
@click.option(
    "--config",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="The TOML file with the settings; config/dstore.toml shows every one.",
)
@_flags
def serve(config: Path | None, **flags: object) -> None:
    """Start the server and stay until SIGTERM.

    By default one process is all of dStore: control, a node and a proxy. On the first start it
    makes its keys, an operator token, and the tenant default with an access key, and writes
    DATA/client.env, in which the other commands find them.

    With --role it is a part of a cluster: a control makes the control plane, or belongs to the one
    whose store it is given; a node or proxy joins with the token of --join-token-file.

    Every flag may be a line in the file of --config, or a variable: --tls-cert is DSTORE_TLS_CERT.
    Flags overrule variables, and variables the file.
    """
    try:
        settings = load(config=config, environment=os.environ, flags=flags)
    except SettingsError as error:
        raise usage(str(error)) from None
    gc.disable()  # what is imported stays; to look for garbage in it takes a tenth of a start
    from dstore.daemon import run  # the server and all its libraries, which --help can do without

    gc.freeze()
    gc.enable()
    raise click.exceptions.Exit(run(settings))
