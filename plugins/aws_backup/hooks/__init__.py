"""AWS Backup hooks."""
