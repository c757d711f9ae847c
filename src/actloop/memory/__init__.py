"""What a run remembers: its steps, folded from events, and the messages that a model is shown of them."""
