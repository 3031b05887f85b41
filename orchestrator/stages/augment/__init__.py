"""The search for an augmentation policy."""
