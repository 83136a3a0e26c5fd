"""One module per engine: its configuration, its command line, and its sign of life."""
