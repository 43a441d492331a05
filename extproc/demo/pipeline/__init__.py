"""The second demo: a whole inference pipeline behind Envoys, each request one trace that is verified."""
