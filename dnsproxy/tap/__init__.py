"""The receiving side of dnstap: `dnsproxy tap`, its commands, and what they share."""
