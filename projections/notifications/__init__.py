"""The notifications unit: what others did that concerns a user, in his inbox."""
