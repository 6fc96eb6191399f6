"""The surfaces on which dStore is spoken to; they do not know each other."""
