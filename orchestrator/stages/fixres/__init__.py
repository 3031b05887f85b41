"""Trained networks at other test resolutions."""
