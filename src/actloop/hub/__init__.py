"""Saved tools and agents: folders on disk, and traffic with the Hugging Face Hub."""
