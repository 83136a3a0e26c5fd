"""A seeded population that tweets, follows and quarrels: traffic for demos and fault tests."""
