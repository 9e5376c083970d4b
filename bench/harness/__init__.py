"""The pieces of the bench: programs, load, collectors, counters, figures and verdicts."""
