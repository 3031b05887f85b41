"""What `orchestrator doctor` looks at, a file a subject; nothing here needs what it checks."""
