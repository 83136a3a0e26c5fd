"""Event types, codec, Snowflake ids and the log. Knows of no projection."""
