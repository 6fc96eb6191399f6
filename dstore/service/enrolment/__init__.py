"""A component's side of joining: its certificate, its way to control, what control gives it."""
