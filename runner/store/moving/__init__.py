"""Move all runs of a project from its folder to a shared state, or back: read `move` first."""
