"""Reads request bodies: JSON, JSON-RPC, multipart forms, gRPC messages, with their content codings undone."""
