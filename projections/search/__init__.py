"""Unit of projection: search, by words and by who wrote."""
