"""Policy files: YAML documents to a ``Snapshot``, or every problem in them with its line."""
