"""Where bytes rest: encrypted SQLite files (vault), range stores on them, the node database."""
