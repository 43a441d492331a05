"""The command line of ``extproc``: one module for each command."""
