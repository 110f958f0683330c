import pytest

from local_aws import control, tables
from local_aws.settings import Settings, UnknownSetting


def test_all_but_the_lag_of_recovery_are_zero_at_first():
    durations = Settings().as_dict()
    assert durations.pop("recovery_lag_seconds") == 300
    assert set(durations.values()) == {0.0}


def test_an_update_changes_what_it_names():
    settings = Settings()
    settings.update({"job_seconds": 4, "restore_seconds": 2.5})
    assert settings == Settings(job_seconds=4.0, restore_seconds=2.5)


@pytest.mark.parametrize("value", [-1, "4", None, True, float("inf"), float("nan")])
def test_bad_values_change_nothing(value):
    settings = Settings()
    with pytest.raises(ValueError, match="job_seconds"):
        settings.update({"restore_seconds": 1, "job_seconds": value})
    assert settings == Settings()


def test_unknown_names_are_refused():
    with pytest.raises(UnknownSetting, match=r"'speed'.*job_seconds"):
        Settings().update({"speed": 1})


def test_a_skew_keeps_a_write_journal_only_while_it_is_on(bare_aws):
    bare_aws.make_table()
    with pytest.raises(tables.JournalTooShort):
        snapshot(bare_aws, 60)
    control.configure(snapshot_skew_seconds=60)
    assert snapshot(bare_aws, 60).item_count == 0
    control.configure(snapshot_skew_seconds=0)
    with pytest.raises(tables.JournalTooShort):
        snapshot(bare_aws, 60)


def snapshot(aws, seconds):
    from datetime import timedelta

    return tables.snapshot_table("123456789012", "us-east-1", "orders", now=aws.now, skew=timedelta(seconds=seconds))
