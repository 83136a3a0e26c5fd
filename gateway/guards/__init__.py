"""Wrappers of the ports (store, Redis, log) that notice an engine away and answer without it."""
