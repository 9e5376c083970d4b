"""Each command, from its options to its exit status."""
