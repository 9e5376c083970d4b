"""Several processes that share the ports: their supervisor, what it and they say to each other, and what it adds up."""
