"""Screens: the terminal."""
