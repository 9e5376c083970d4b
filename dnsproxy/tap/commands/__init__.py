"""The commands of `dnsproxy tap`, a module for each; each is imported when it is called."""
