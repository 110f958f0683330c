# One image for every Airflow component and for the local AWS; docker-compose.yaml says which it becomes.
FROM python:3.11.13-slim-bookworm AS build

# The lock holds every requirement with its hash, so nothing is resolved here.
COPY requirements.txt /tmp/requirements.txt
RUN python -m venv /opt/venv \
 && /opt/venv/bin/pip install --no-cache-dir --no-deps --require-hashes -r /tmp/requirements.txt \
 && /opt/venv/bin/pip check

FROM python:3.11.13-slim-bookworm

# Group 0, so that platforms which run images under an arbitrary user id can write where airflow can.
RUN useradd --uid 50000 --gid 0 --no-create-home --home-dir /opt/airflow airflow \
 && install -d -o airflow -g 0 -m 0775 /opt/airflow /opt/airflow/logs /opt/airflow/auth \
      /opt/project /opt/project/include/data/daily

COPY --from=build /opt/venv /opt/venv
COPY --chown=airflow:0 dags /opt/project/dags
COPY --chown=airflow:0 plugins /opt/project/plugins
COPY --chown=airflow:0 include /opt/project/include

ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    AIRFLOW_HOME=/opt/airflow \
    AIRFLOW__CORE__DAGS_FOLDER=/opt/project/dags \
    AIRFLOW__CORE__PLUGINS_FOLDER=/opt/project/plugins \
    AIRFLOW__CORE__LOAD_EXAMPLES=False \
    BACKUP_PROJECT_HOME=/opt/project

USER 50000:0
WORKDIR /opt/airflow
ENTRYPOINT []
CMD ["airflow", "version"]
