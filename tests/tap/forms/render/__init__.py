"""The renderers behind the forms."""
