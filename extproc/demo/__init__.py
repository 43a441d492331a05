"""The demo: small model servers, the gateway in front of them, traffic, a table that is verified."""
