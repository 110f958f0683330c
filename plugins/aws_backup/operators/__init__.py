"""AWS Backup operators."""
