"""Items that expire: what keeps their times beside them, and what removes them (ADR 0022)."""
