"""Control's own key, from where the settings say."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dstore.model.errors import invalid
from dstore.security.control_key import (
    CONTROL_KEY_FILE,
    ControlKey,
    from_command,
    load_or_create,
)

if TYPE_CHECKING:
    from dstore.base.entropy import Entropy
    from dstore.settings import Settings


def control_key(settings: Settings, *, may_create: bool, entropy: Entropy) -> ControlKey:
    """Read it, or make its file; call it in a thread.

    Args:
        settings: name the command or the file; else it is `control.key` beside the data.
        may_create: control's store is new.
        entropy: source of a new key.
    Raises: Refused(INVALID): both are named. Unavailable(LOCKED): it can't be had.
    """
    if settings.control_key_command is not None:
        if settings.control_key_file is not None:
            raise invalid("control.key_file and control.key_command exclude each other; set one.")
        return from_command(settings.control_key_command)
    path = settings.control_key_file or settings.data / CONTROL_KEY_FILE
    return load_or_create(path, may_create=may_create, entropy=entropy)
