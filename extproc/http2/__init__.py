"""One HTTP/2 connection, the server's side, sans-I/O: bytes in, bytes out (RFC 9113, RFC 7541). Knows no gRPC."""
