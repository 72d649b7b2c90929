"""A small number for every character, looked up for all characters of a text at once: a question asked in Python, or of
a regular expression, character by character costs ten times as much."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

_CHARACTERS = 0x110000


class CharacterTable:
    """What a function says of each character. It is asked once for each that is met, not for all there are."""

    def __init__(self, of_character: Callable[[str], int], *, bits: int = 8) -> None:
        """`of_character`: of one character, a lone surrogate too, a number of so many bits, not all of them set."""
        self._of_character = of_character
        self._not_met = (1 << bits) - 1
        self._table = np.full(_CHARACTERS, self._not_met, np.dtype(f"u{bits // 8}"))

    def look_up(self, text: str) -> NDArray[Any]:
        """[characters] of what the function says."""
        return self.of_codes(codes_of(text))

    def of_codes(self, codes: NDArray[np.uint32]) -> NDArray[Any]:
        """The same of code points."""
        found = self._table.take(codes)
        if found.size and found.max() == self._not_met:
            for code in set(codes[found == self._not_met].tolist()):
                self._table[code] = self._of_character(chr(code))
            found = self._table.take(codes)
        return found


def codes_of(text: str) -> NDArray[np.uint32]:
    """[characters] of their code points."""
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4")
