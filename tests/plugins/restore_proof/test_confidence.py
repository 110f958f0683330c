"""What a sample is trusted to have caught, held against samples."""

from __future__ import annotations

import random

import pytest

from restore_proof.confidence import Confidence, detectable_share


@pytest.mark.parametrize(
    ("items", "share"), [(1, 0.95), (59, 0.0496), (300, 0.00994), (1000, 0.00299), (10_000, 0.0002995)]
)
def test_the_share_is_the_exact_one_of_the_rule_of_three(items: int, share: float) -> None:
    assert detectable_share(items) == pytest.approx(share, rel=0.01)
    if items > 50:
        assert detectable_share(items) == pytest.approx(3 / items, rel=0.03)


def test_nobody_looked_and_nothing_is_caught() -> None:
    assert detectable_share(0) == 1.0


@pytest.mark.parametrize(("items", "probability"), [(-1, 0.95), (5, 0.0), (5, 1.0)])
def test_what_is_no_sample_is_refused(items: int, probability: float) -> None:
    with pytest.raises(ValueError, match="no sample"):
        detectable_share(items, probability)


@pytest.mark.parametrize("items", [30, 100, 400])
def test_samples_catch_what_is_promised_as_often_as_is_promised(items: int) -> None:
    share, chance = detectable_share(items), random.Random(items)
    caught = sum(any(chance.random() < share for _ in range(items)) for _ in range(2000))
    assert 0.93 < caught / 2000 < 0.97


def test_the_sentences_promise_no_more_than_is_so() -> None:
    told = " ".join(Confidence(items=1000, segments_read=100, segments=2500).sentences())
    # 0.299 % and 2.95 %, rounded up.
    assert "0.30 % of the items or more that is spread at random" in told
    assert "100 scan segments of 2500" in told
    assert "3.0 % of the segments" in told
    assert "95%" in told


def test_items_that_changed_are_named_and_promise_nothing() -> None:
    moving = Confidence(items=600, segments_read=100, segments=2500, changed_between=400)
    told = " ".join(moving.sentences())
    assert "A sample of 1000 items was looked at. 400 of them changed while the backup was made" in told
    assert "600 count" in told
    assert moving.detectable_share == detectable_share(600)


def test_as_json_it_names_its_parts() -> None:
    assert Confidence(59, 10, 100).to_dict() == {
        "items": 59,
        "segments_read": 10,
        "segments": 100,
        "changed_between": 0,
        "probability": 0.95,
        "detectable_share": pytest.approx(0.0495, abs=1e-3),
        "detectable_share_of_segments": pytest.approx(0.2589, abs=1e-3),
    }
