"""Where queries come in: one module per kind of listener."""
