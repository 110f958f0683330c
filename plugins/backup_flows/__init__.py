"""What the DAG files wire together: tasks, task groups, guards, the per-table lease and notifications."""
