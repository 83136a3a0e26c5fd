"""`murmur repair`: one key of a unit is put right from the log, in the generation in service."""
