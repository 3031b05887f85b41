"""Who wins, how sure that is, and who is dropped on the way: pure functions of scores."""
