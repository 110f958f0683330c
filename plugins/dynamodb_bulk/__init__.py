"""Bulk work on DynamoDB tables: load, scan, fingerprint, compare. Knows nothing of Airflow."""
