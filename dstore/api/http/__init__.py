"""The server kit that every HTTP surface shares."""
