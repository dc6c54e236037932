"""Whether a smaller model may take the place of the one it was made from, and which one should.

Nothing here measures: figures come in, words go out. They are figures of validation days; those of
the test days are told beside them and decide nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

ADOPT, DONT = "adopt", "don't"
HALF, ENOUGH = 0.5, 1_000_000
"""Of the quickest one's rows a second, and rows a second on one core: what reaches one of them is
quick enough, and competes by average precision. The other steps of a pipeline take 4 µs a row and
more, beside which one does not count."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tolerance:
    """What may be lost, and what must be gained.

    drop_max    of average precision
    flips_max   share of the right alerts that are let pass; of all alerts with `every_flip`
    gain_min    share by which a candidate is quicker or smaller; less is not worth a new model
    every_flip  whether each other decision on an alert counts, right or wrong

    Alerts that are wrong are not counted among the flips by default. Thresholds lie where a budget
    ends, often at odds of one to fifty. Whom a model stops there is a toss: half of its own trees
    toss anew for one alert in seven.
    """

    drop_max: float = 0.01
    flips_max: float = 0.01
    gain_min: float = 0.1
    every_flip: bool = False

    def facts(self) -> dict[str, float]:
        """Return it as JSON-encodable facts."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """A candidate against the original.

    drop, drop_low, drop_high  average precision lost, and its interval of 95 %
    right_lost                 share of the right alerts that are let pass
    flips                      share of all alerts on which the decision is another one
    speedup, speedup_low       rows a second, as a multiple; the median round and the low quartile
    size                       bytes, as a multiple
    over_float, over_float_low  for a quantised candidate: its rows a second as a multiple of those
                               of the float graph that it was made of; None for others
    """

    drop: float
    drop_low: float
    drop_high: float
    right_lost: float
    flips: float
    speedup: float
    speedup_low: float
    size: float
    over_float: float | None = None
    over_float_low: float = 0.0


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer.

    adopt    whether the candidate keeps the tolerance
    reasons  in words: why not, one by one, or what it is that is adopted
    """

    adopt: bool
    reasons: tuple[str, ...]

    @property
    def word(self) -> str:
        """The answer as a word."""
        return ADOPT if self.adopt else DONT


def judge(compared: Compared, tolerance: Tolerance) -> Verdict:
    """Say whether a candidate may be adopted, and why."""
    lost = (
        f"average precision falls by {compared.drop:.4f} "
        f"({compared.drop_low:.4f} to {compared.drop_high:.4f})"
    )
    passed = f"{compared.right_lost:.2%} of the right alerts are let pass"
    flips = f"the decision is another one on {compared.flips:.1%} of all alerts"
    against = []
    if not compared.drop <= tolerance.drop_max:
        against.append(f"{lost}, above {tolerance.drop_max:g}")
    counted, told = (
        (compared.flips, flips) if tolerance.every_flip else (compared.right_lost, passed)
    )
    if not counted <= tolerance.flips_max:
        against.append(f"{told}, above {100 * tolerance.flips_max:g}%")
    against += _no_gain(compared, tolerance)
    if against:
        return Verdict(adopt=False, reasons=tuple(against))
    gain = f"{compared.speedup:.2f} times the rows a second in {compared.size:.0%} of the bytes"
    return Verdict(adopt=True, reasons=(gain, lost, passed, flips))


def _no_gain(compared: Compared, tolerance: Tolerance) -> list[str]:
    """Say what is not gained."""
    said = []
    over = compared.over_float
    if over is not None and not _quicker(over, compared.over_float_low, tolerance):
        # Its bytes are fewer, always; a net of some kilobytes is quantised for its speed.
        said.append(f"no quicker than the same in float: {over:.2f} times its rows a second")
    quicker = _quicker(compared.speedup, compared.speedup_low, tolerance)
    if not quicker and compared.size > 1 - tolerance.gain_min:
        said.append(
            f"neither quicker ({compared.speedup:.2f} times the rows a second) nor smaller "
            f"({compared.size:.0%} of the bytes)"
        )
    return said


def _quicker(times: float, low: float, tolerance: Tolerance) -> bool:
    return times >= 1 + tolerance.gain_min and low > 1


@dataclass(frozen=True, slots=True)
class Choice:
    """What is known of an adopted candidate when one is recommended.

    precision   average precision on the validation days
    rows_per_s  on one core
    size        bytes
    """

    name: str
    precision: float
    rows_per_s: float
    size: int


def recommend(adopted: Sequence[Choice]) -> str | None:
    """Return the name of the one to take; None where there is none.

    Of those that are quick enough, it is the one with the best average precision on the validation
    days; see `ENOUGH`.
    """
    if not adopted:
        return None
    enough = min(ENOUGH, HALF * max(each.rows_per_s for each in adopted))
    near = [each for each in adopted if each.rows_per_s >= enough]
    return min(near, key=lambda each: (-each.precision, each.size, each.name)).name


def pareto_front(points: Mapping[str, tuple[float, float]]) -> list[str]:
    """Return the names of the points that no other one beats at both coordinates; more is better.

    >>> pareto_front({"a": (1, 3), "b": (2, 2), "c": (1, 2), "d": (3, 1)})
    ['a', 'b', 'd']
    """
    front, best = [], float("-inf")
    for name, (_, second) in sorted(points.items(), key=lambda item: (-item[1][0], -item[1][1])):
        if second > best:
            front.append(name)
            best = second
    return sorted(front, key=lambda name: points[name][0])
