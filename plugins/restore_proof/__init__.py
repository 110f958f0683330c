"""Proof that a restored table is right: settings parity, verdicts, evidence. Knows nothing of Airflow."""
