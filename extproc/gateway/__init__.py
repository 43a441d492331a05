"""``extproc up``: an embedded Envoy with the processor wired in."""
