"""From a name or folder to normalised batches on the training device."""
