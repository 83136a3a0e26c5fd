"""Unit of projection: the content of tweets, by id."""
