"""The processor as a process: options, the gRPC services, workers, signals, feeds."""
