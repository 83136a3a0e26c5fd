"""What is in a tweet's text: entities, length and language. Pure functions, no engine."""
