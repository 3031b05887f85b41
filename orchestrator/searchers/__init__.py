"""What to try next, as pure functions of the history."""
