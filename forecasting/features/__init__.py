"""Features: pure functions of a panel and a position in time; `plan` turns them into a design matrix."""
