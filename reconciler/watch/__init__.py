"""Keeping a host so: what the agent shows of itself, and how it is served."""
