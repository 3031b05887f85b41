"""Every speed claim as a ratio against a named peer."""
