"""Degrading on purpose: what a process stops doing, and whom it turns away, to go on at all."""
