"""How answers are framed (SSE, NDJSON, AWS event streams, WebSocket, gRPC): bytes in, events out."""
