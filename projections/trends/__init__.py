"""Trends: what many people begin to talk about, by place and by minute."""
