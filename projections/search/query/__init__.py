"""The query language: what somebody typed becomes a tree that both tiers can evaluate."""
