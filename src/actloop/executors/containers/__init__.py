"""Containers as sandboxes, with Docker or podman: finding the engine, hardened options, images."""
