"""Queries: projections read and joined into JSON."""
