"""Restore drills: choose a recovery point, restore it beside, prove it, and leave a verdict whatever happens."""
