"""Unit of projection: profiles, and who holds which username."""
