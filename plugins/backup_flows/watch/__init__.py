"""The watch over scheduled backups: what was due by ``protection.yaml`` held against what AWS Backup did."""
