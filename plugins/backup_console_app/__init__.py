"""The console: pages inside Airflow's UI that tell how well each table is protected. No Airflow import."""
