"""One file a stage: what to try, and what to conclude."""
