"""What the commands ``extproc`` and ``linkerd-adapter`` share: subcommands, flags, exit statuses."""
