"""How a moment is spelled for people and programs."""

from datetime import UTC, datetime

from dstore.base.clock import US_PER_S


def instant(wall_us: int) -> str:
    """Spell microseconds since 1970 as RFC 3339 in UTC, to the millisecond."""
    moment = datetime.fromtimestamp(wall_us / US_PER_S, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
