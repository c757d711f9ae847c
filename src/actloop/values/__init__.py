"""Plain values that every other part speaks of: messages, usage, events."""
