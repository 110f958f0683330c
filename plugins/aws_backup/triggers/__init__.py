"""AWS Backup triggers."""
