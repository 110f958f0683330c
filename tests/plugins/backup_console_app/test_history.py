"""RPO and RTO over the drills of a table: what was proven by then, how long restores took, and against which target."""

from __future__ import annotations

import datetime as dt

from backup_console_app.drills import drill_names, read_drills
from backup_console_app.history import charts
from backup_console_app.world import FRESH
from restore_proof.history import Surroundings
from restore_proof.verdict import Result

DAY = dt.timedelta(days=1)
START = dt.datetime(2026, 11, 1, 5, 0, tzinfo=dt.UTC)
ARN = "arn:aws:backup:us-east-1:123456789012:recovery-point:{}"


def drill(account, day, *, hours, result=Result.PROVEN, **more):
    """Leave a drill behind, ``hours`` after the backup of a day."""
    made = START + day * DAY
    return account.drill(
        "orders",
        ARN.format(day),
        as_of=made.date().isoformat(),
        backed_up_at=made,
        decided_at=made + dt.timedelta(hours=hours),
        result=result,
        **more,
    )


def drawn(account):
    world = account.world()
    return {chart.title.split(",")[0]: chart for chart in charts(world, world.table("orders"))}


def test_without_a_drill_there_is_no_chart(account):
    assert drawn(account) == {}


def test_a_drill_that_failed_leaves_the_last_proven_point_to_age(account):
    drill(account, 0, hours=2)
    drill(account, 1, hours=2, result=Result.FAILED)
    drill(account, 2, hours=2)
    proven = drawn(account)["Age of the newest proven recovery point"]
    assert [dot.text.rpartition(": ")[2] for dot in proven.dots] == ["2 h", "1 d 2 h", "2 h"]
    assert [dot.good for dot in proven.dots] == [True, False, True]
    assert proven.met == 3


def test_an_older_point_that_is_proven_later_does_not_make_the_newest_older(account):
    drill(account, 2, hours=2)
    account.drill("orders", ARN.format(0), as_of="2026-11-04", backed_up_at=START, decided_at=START + 3 * DAY)
    proven = drawn(account)["Age of the newest proven recovery point"]
    assert proven.dots[-1].text.endswith(": 1 d")


def test_restores_are_held_against_the_rto(account):
    drill(account, 0, hours=6, restore_seconds=3600)
    drill(account, 1, hours=6, restore_seconds=5 * 3600)
    assert [dot.mood for dot in drawn(account)["Time to restore"].dots] == ["good", "bad"]


def test_what_the_history_knows_besides_is_shown(account):
    looked = START + 30 * dt.timedelta(hours=1)
    around = Surroundings(newest_usable_at=START, looked_at=looked, cost={"total_usd": 0.0125})
    drill(account, 1, hours=2, around=around)
    assert [dot.mood for dot in drawn(account)["Age of the newest usable recovery point"].dots] == ["bad"]
    (found,) = read_drills(account.world(), "orders", drill_names(account.world(), "orders"))
    assert found.cost_usd == 0.0125
    assert "0.0125 $" in account.browser().get("/tables/orders").text


def test_a_pack_that_is_none_is_left_out(account):
    drill(account, 0, hours=2)
    account.put("evidence/orders/2026-11-09-ffffffff/pack.json", b"{}")
    account.put("evidence/orders/2026-11-09-eeeeeeee/report.html", b"")
    world = account.world()
    assert len(drill_names(world, "orders")) == 3
    assert [found.as_of for found in read_drills(world, "orders", drill_names(world, "orders"))] == ["2026-11-01"]


def test_the_last_ninety_are_charted(account):
    for number in range(100):
        made = START - number * DAY
        account.drill("orders", ARN.format(number), as_of=made.date().isoformat(), backed_up_at=made)
    assert len(drawn(account)["Time to restore"].dots) == 90


def test_a_drill_that_is_being_written_shows_as_soon_as_it_is(account):
    account.put("evidence/orders/2026-11-01-0a1b2c3d/pack.json", b"{}")
    world = account.world()
    names = drill_names(world, "orders")
    assert read_drills(world, "orders", names) == []
    drill(account, 0, hours=2)
    account.seconds += FRESH
    assert len(read_drills(world, "orders", names)) == 1


def test_a_second_attempt_has_a_folder_of_its_own_and_the_drills_history(account):
    drill(account, 0, hours=2, around=Surroundings(cost={"total_usd": 0.5}))
    pack = account.clients("s3").get_object(Bucket="proofs", Key="evidence/orders/2026-11-01-0a1b2c3d/pack.json")
    account.put("evidence/orders/2026-11-01-0a1b2c3d.2/pack.json", pack["Body"].read())
    found = read_drills(account.world(), "orders", ["2026-11-01-0a1b2c3d.2"])
    assert [(one.as_of, one.cost_usd) for one in found] == [("2026-11-01", 0.5)]
    answer = account.browser().get("/evidence/orders/2026-11-01-0a1b2c3d.2/pack.json")
    assert answer.status_code == 200
