"""How the components of a cluster talk to each other, and how ranges are replicated."""
