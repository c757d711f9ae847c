"""How well an agent solves small tasks with a small model, with a peer beside it."""
