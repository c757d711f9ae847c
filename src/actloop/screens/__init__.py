"""Screens beyond the terminal: the web page of an agent, and an agent that drives a web browser."""
