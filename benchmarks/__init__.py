"""What the core costs per request: run `python -m benchmarks`, or `make bench-core`."""
