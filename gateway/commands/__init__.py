"""Commands: validate, then append one event."""
