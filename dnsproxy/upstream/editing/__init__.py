"""What is changed in queries on their way to an upstream, and taken back in its answers."""
