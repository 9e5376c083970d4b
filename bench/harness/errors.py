"""What goes wrong in a bench, in words for whoever started it."""


class BenchError(Exception):
    """Nothing can be measured, or not what was meant: the message says why and what to do."""
