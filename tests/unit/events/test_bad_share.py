"""The limit on bad records."""

from __future__ import annotations

import pytest

from tiebreak.contracts.errors import TooManyBadRecords
from tiebreak.events.bad_share import BadShare


def test_a_few_bad_records_are_noise_however_long_it_goes_on() -> None:
    """Exactly at the limit, for many windows: the stage goes on."""
    share = BadShare(max_share=0.5, window=100)
    for _ in range(1000):
        share.add(total=10, bad=5)


def test_a_full_window_of_mostly_bad_records_stops_the_stage() -> None:
    """After any number of good ones, the last window counts."""
    share = BadShare(max_share=0.9, window=100)
    for bad in [0] * 50 + [10] * 9:
        share.add(total=10, bad=bad)
    with pytest.raises(TooManyBadRecords) as caught:
        share.add(total=10, bad=10)
    assert caught.value.message == "100 of the last 100 records are bad (limit 90%)."


def test_before_the_window_is_full_nobody_can_tell() -> None:
    """The first few records after a start may all be bad."""
    BadShare(max_share=0.1, window=100).add(total=99, bad=99)


def test_one_batch_larger_than_the_window_is_judged_at_once() -> None:
    """A flood of bad records does not get its first batch into `dead`."""
    with pytest.raises(TooManyBadRecords):
        BadShare(max_share=0.9, window=1000).add(total=4096, bad=4096)


def test_after_a_rewind_the_same_records_do_not_count_twice() -> None:
    """Batches that are handed out again are counted again from nothing."""
    share = BadShare(max_share=0.5, window=10)
    for _ in range(5):
        share.add(total=8, bad=8)
        share.forget()
