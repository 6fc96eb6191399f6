"""What the APIs say, and the command line in words of its own."""

from typing import Final

NO_SUCH_PATH: Final = "Nothing has this path; compare it with the description of the API."
NO_SUCH_ENTRY: Final = "There is no such entry; create it with PUT."
ENTRY_EXISTS: Final = "The entry exists; replace it with POST, or delete it first."
