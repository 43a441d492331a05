"""Which endpoint of a target gets a request: by load, and by what its cache may hold of the prompt. Pure."""
