"""The admin port: its HTTP server, its page, and the client that asks other processors."""
