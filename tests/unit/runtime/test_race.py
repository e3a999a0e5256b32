"""Champion and challenger on the same events in turn, in a real child: what a race says, and when it ends."""

from __future__ import annotations

import pytest

from tests.support.models import dense, points, project_of
from tiebreak.contracts.errors import ModelRefused
from tiebreak.runtime.sandbox import Course, Limits, Race, Runner, Sandbox, wanted_by

GOOD = dense(points(4, 3, seed=1), squash="Softmax")
WANTED = wanted_by(project_of())
X = points(20)
COURSE = Course({"x": X}, 1, 1.15, 15)


@pytest.mark.parametrize(("bound", "run"), [(1e6, 8), (0.0, 8)])
async def test_a_race_ends_once_the_rest_cannot_change_its_outcome(bound: float, run: int) -> None:
    """Eight pairs of fifteen on one side of the bound: the median is there, whatever the other seven would say."""
    runner = Runner(GOOD, WANTED)
    race = await Sandbox().race(runner, runner, Course({"x": X}, 64, bound, 15), Limits())
    assert len(race.pairs) == run
    assert min(seconds for pair in race.pairs for seconds in pair) > 0.0


async def test_a_champion_that_does_not_load_races_nobody() -> None:
    """Nothing can be slower than it; a challenger that does not load is refused all the same."""
    good, torn = Runner(GOOD, WANTED), Runner(GOOD[:50], WANTED)
    race = await Sandbox().race(good, torn, COURSE, Limits())
    assert (race.pairs, race.ratio, race.excess_s) == ((), 1.0, 0.0)
    with pytest.raises(ModelRefused, match=r"not an ONNX model|no ONNX graph"):
        await Sandbox().race(torn, good, COURSE, Limits())


def test_a_pair_out_of_line_moves_no_median() -> None:
    """One run of three was interrupted: ratio and difference are those of the other two."""
    race = Race(((13e-5, 10e-5), (90e-5, 10e-5), (13e-5, 10e-5)))
    assert (round(race.ratio, 6), round(race.excess_s, 9)) == (1.3, 3e-5)
