"""AWS Backup links."""
