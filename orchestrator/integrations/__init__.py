"""Our trials inside other people's frameworks."""
