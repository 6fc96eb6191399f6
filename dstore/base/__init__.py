"""What everything stands on: clock, entropy, tasks, logging, metrics, limits. Imports no layer."""
