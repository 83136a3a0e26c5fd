"""`murmur diff`: whether two generations of a unit, or one and the oracle, look the same."""
