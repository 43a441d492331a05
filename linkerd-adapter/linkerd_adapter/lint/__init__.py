"""What Linkerd would not do with routes, Services and profiles as their authors mean it: ``linkerd-adapter lint``.

``linter`` runs all rules. A module for each subject holds its rules, and ``check``, which looks for what breaks them in
everything that was given (``objects``). Sans I/O: texts in, findings out, never an exception for any text.
"""
