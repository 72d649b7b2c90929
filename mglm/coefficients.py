"""What `mglm estimate` reckons with: ranges, each from a measurement in benchmarks/results or from a named source.

coefficients.toml holds them. A range says what the figure may be elsewhere, not the noise of one machine.
"""

import tomllib
from functools import cache
from pathlib import Path
from typing import NamedTuple, Self

from pydantic import BaseModel, ConfigDict, Field

FILE = Path(__file__).with_name("coefficients.toml")


class Range(NamedTuple):
    """A quantity that lies between `low` and `high`, both at least 0."""

    low: float
    high: float

    @classmethod
    def exactly(cls, value: float) -> Self:
        return cls(value, value)

    def times(self, other: "Range | float") -> "Range":
        factor = other if isinstance(other, Range) else Range.exactly(other)
        return Range(self.low * factor.low, self.high * factor.high)

    def over(self, other: "Range | float") -> "Range":
        divisor = other if isinstance(other, Range) else Range.exactly(other)
        return Range(self.low / divisor.high, self.high / divisor.low)

    def plus(self, other: "Range | float") -> "Range":
        term = other if isinstance(other, Range) else Range.exactly(other)
        return Range(self.low + term.low, self.high + term.high)


class Coefficient(BaseModel):
    """One entry of coefficients.toml. `record` and `figure` say where it was measured, `source` who else says so."""

    model_config = ConfigDict(extra="forbid")
    low: float = Field(ge=0)
    high: float = Field(ge=0)
    unit: str
    why: str
    record: str | None = None
    figure: str | None = None
    source: str | None = None

    @property
    def range(self) -> Range:
        return Range(self.low, self.high)


@cache
def coefficients() -> dict[str, Coefficient]:
    """Name → coefficient."""
    with FILE.open("rb") as file:
        return {name: Coefficient.model_validate(entry) for name, entry in tomllib.load(file).items()}
