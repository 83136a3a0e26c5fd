"""What a text is found by: its terms and their places. Pure functions, no engine."""
