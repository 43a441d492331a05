"""What the processor costs behind a real Envoy: `python -m benchmarks.mesh` (see docs/performance.md)."""
