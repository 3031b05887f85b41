"""Rows to figures: the only place that draws, and the door to matplotlib."""
