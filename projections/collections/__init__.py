"""Unit of projection: lists of users, and bookmarks."""
