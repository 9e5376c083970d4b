"""What each form prints."""
