"""The bounds of writes that were accepted to be done later (202)."""

from typing import Final

from dstore.base.limits import MIB, REQUEST_RETENTION_S

ASYNC_QUEUE_DEPTH_MAX: Final = 10_000  # accepted with 202 and not yet done; 2 s of work
ASYNC_QUEUE_BYTES_MAX: Final = 64 * MIB  # the same queue in bytes, in memory and on the disk
ASYNC_TENANT_SHARE: Final = 2  # one tenant may hold half of that queue, so that others find room
ASYNC_WORKERS: Final = 4  # tables whose accepted writes are done at a time; a stuck one delays none
ASYNC_TURN_BYTES_MAX: Final = 1 * MIB  # of bodies taken at once; as items they are ~50 times that
ASYNC_FORGET_S: Final = 60.0  # how often outcomes past their time are looked for
OUTCOMES_FORGOTTEN: Final = 512  # deleted at a time, so that no other step waits long for it
# An accepted write (202) that may have been done is tried again for so long; then nobody may know
# its name any more, and it is told as unknown.
ASYNC_REPEATED_S: Final = 600
ASYNC_SURE_S: Final = 60.0  # how often it is noted of those that wait that they surely are not done
CLOCK_ERROR_S: Final = 300  # by which clocks may differ, of two machines or of one before and after
# Names are kept until no accepted write that came while they were remembered is tried again: by
# the clocks of who accepted it, of who did it and of who is asked to do it once more.
REQUEST_KEPT_S: Final = REQUEST_RETENTION_S + ASYNC_REPEATED_S + 3 * CLOCK_ERROR_S
