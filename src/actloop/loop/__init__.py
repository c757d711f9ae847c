"""What an agent does, without I/O: generators that yield effects and are sent their outcomes."""
