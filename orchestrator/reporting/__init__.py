"""Results to rows; rows to tables and figures."""
