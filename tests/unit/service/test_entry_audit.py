"""Nobody writes into a tenant's table with the operator's token without a trace."""

from structlog.testing import capture_logs

from dstore.base.logging import LogFormat, LogLevel, configure
from dstore.service.entry_audit import EntryAudit, EntryWrites

WRITES = EntryWrites(principal_id="p", tenant="acme", table="abc", operation="create")
OTHERS = EntryWrites(principal_id="p", tenant="acme", table="other", operation="create")


def test_the_first_at_once_and_the_rest_by_number() -> None:
    """Every write is told exactly once, and a burst of them in one line."""
    configure(level=LogLevel.INFO, form=LogFormat.JSON)
    audit = EntryAudit()
    with capture_logs() as lines:
        for _ in range(100):
            audit.note(WRITES)
        audit.note(OTHERS)
        assert [(line["table"], line["writes"]) for line in lines] == [("abc", 1), ("other", 1)]
        audit.flush()
        audit.flush()
        audit.note(WRITES)
    told = [(line["table"], line["writes"]) for line in lines]
    assert told == [("abc", 1), ("other", 1), ("abc", 99), ("abc", 1)]
    assert {line["by"] for line in lines} == {"operator"}
