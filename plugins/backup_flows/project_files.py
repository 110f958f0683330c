"""Find the project's files (``include/...``) from every component that may need them.

A worker, a triggerer and a test run in different working directories, and Airflow puts ``plugins/`` and
``dags/`` on ``sys.path`` but not the folder around them. One resolver decides, so that no task guesses.
"""

from __future__ import annotations

import os
from pathlib import Path

PROJECT_HOME_VARIABLE = "BACKUP_PROJECT_HOME"


class ProjectFileNotFoundError(FileNotFoundError):
    """A project file is not where the resolver looks; the message names the place and the remedy."""


def project_home() -> Path:
    """Return the folder that holds ``dags/``, ``plugins/`` and ``include/``.

    ``BACKUP_PROJECT_HOME`` wins; otherwise it is the folder beside Airflow's DAGs folder.
    """
    configured = os.environ.get(PROJECT_HOME_VARIABLE)
    if configured:
        return Path(configured).resolve()
    from airflow.sdk.configuration import conf

    return Path(conf.get("core", "dags_folder")).resolve().parent


def project_file(relative: str | os.PathLike[str]) -> Path:
    """Return the absolute path of a file that ships with the project.

    :param relative: path below the project's folder, for example ``include/data/orders_schema.yaml``.
    :raises ProjectFileNotFoundError: no such file; says how to point the resolver elsewhere.
    """
    path = project_home() / relative
    if not path.exists():
        raise ProjectFileNotFoundError(
            f"{path} does not exist. Project files are looked for below {project_home()}; "
            f"set {PROJECT_HOME_VARIABLE} to the folder that holds include/ if it is elsewhere."
        )
    return path
