"""Prompt templates as files."""
