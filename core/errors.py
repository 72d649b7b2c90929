"""The one error that users see: a single line that names the thing, what was found, what was expected, what to do."""


class MGLMError(Exception):
    """A mistake in input, configuration or environment that its user can mend.

    The front door prints it as one line on stderr and exits with status 2, without a traceback.
    """

    def __init__(self, thing: str, *, found: str = "", expected: str = "", action: str = "") -> None:
        parts = [thing]
        if found:
            parts.append(f"found {found}")
        if expected:
            parts.append(f"expected {expected}")
        line = "; ".join(parts)
        if action:
            line += f". {action[0].upper()}{action[1:]}"
        super().__init__(" ".join(line.split()))
