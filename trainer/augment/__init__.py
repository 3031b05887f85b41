"""Augmentation policies: values, operations, batched application."""
