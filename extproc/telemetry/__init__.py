"""What was observed, counted and shown: metrics, golden metrics, recent requests, traces."""
