"""Agents: reusable definitions that users run."""
