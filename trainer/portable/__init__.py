"""Trained models as files that other people's code can use."""
