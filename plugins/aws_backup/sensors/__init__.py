"""AWS Backup sensors."""
