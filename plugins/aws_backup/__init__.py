"""AWS Backup for Apache Airflow: hook, operators, sensors and triggers, made like the Amazon provider's."""
