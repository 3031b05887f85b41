"""Two results of one stage side by side."""
