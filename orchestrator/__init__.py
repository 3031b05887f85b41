"""Decides what runs when and where, remembers results, and talks to people."""
