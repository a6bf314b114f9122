"""The planner, worker and keeper, and what they share. Knows ports only."""
