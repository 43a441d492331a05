"""What both commands, ``extproc`` and ``linkerd-adapter``, are made of: subcommands, flags, exit statuses."""
