"""The peer surface: other components call this one."""
