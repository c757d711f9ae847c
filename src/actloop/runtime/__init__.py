"""Performs effects: blocking or on asyncio, through one gateway."""
