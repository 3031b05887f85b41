"""A family of networks, trained."""
