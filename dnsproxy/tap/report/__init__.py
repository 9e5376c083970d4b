"""The report of `dnsproxy tap stats`: as JSON, text, SVG and HTML, all from one tally."""
