"""Dead letters, for operators: what there is, and what is decided about it."""
