"""One HTTP exchange, sans-I/O: events in, actions out. ``route`` decides, ``observe`` times the answer."""
