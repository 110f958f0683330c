"""Lists that lag behind: what is new appears in them a while later, as lists of AWS may."""

from datetime import datetime, timedelta

from local_aws.clock import CLOCK
from local_aws.settings import SETTINGS


def in_lists_yet(created_at: datetime) -> bool:
    """Tell whether what was created then is in lists by now."""
    return created_at + timedelta(seconds=SETTINGS.list_lag_seconds) <= CLOCK.now()
