"""A node's side of a cluster: it counts its starts, does what control decides, and reports."""
