"""All that a run can be told, frozen and checked; a module a stage. Nothing here loads torch."""
