"""Tools that reach the web, all through one client that refuses internal addresses."""
