"""What each trick buys."""
