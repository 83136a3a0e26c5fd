"""The router: who is pushed and mailed to, of what the log says while it runs."""
