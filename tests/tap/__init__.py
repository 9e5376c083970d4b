"""The receiving side: `dnsproxy tap`."""
