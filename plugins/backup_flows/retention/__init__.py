"""The flows of ``retention_cleanup``: look, plan, show, ask, keep what is to be proven, delete, confirm, sweep."""
