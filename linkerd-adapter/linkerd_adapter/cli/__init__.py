"""The command line of ``linkerd-adapter``: one module for each command."""
