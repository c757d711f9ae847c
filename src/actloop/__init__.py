"""Agents that act by writing Python."""
