"""Bringing one's history along: from other services' exports into the log."""
