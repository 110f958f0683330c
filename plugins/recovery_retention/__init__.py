"""Which recovery points and restored tables may go: keep rules, plans and guards. Pure; knows no Airflow."""
