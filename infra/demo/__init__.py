"""`murmur demo`: everything at once, and a proof at the end that what readers see is right."""
