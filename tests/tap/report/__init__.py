"""The report of `dnsproxy tap stats`."""
