"""The contract: topics, versioned schemas, examples. Imports nothing else of ours."""
