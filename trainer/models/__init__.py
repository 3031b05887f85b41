"""Networks, each built from its frozen configuration."""
