"""A proxy's side of the use cases: what it knows is the topology, what it does others do for it."""
