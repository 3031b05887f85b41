"""Augmentation policies as users meet them: by name, on paper, in pictures, for other tools."""
