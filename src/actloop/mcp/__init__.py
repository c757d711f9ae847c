"""MCP, both ways: tools of MCP servers for agents (`client`), and an agent as an MCP server (`server`)."""
