"""Tricks of the trade as named switches, and the ladders that papers have climbed with them."""
