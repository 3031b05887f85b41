"""What one trial does, by name."""
