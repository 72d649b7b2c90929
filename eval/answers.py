"""What happens to a model's words before they are scored, by name, so that a task can declare it."""

from collections.abc import Callable, Sequence

POSTPROCESS: dict[str, Callable[[str], str]] = {
    "one_line": lambda text: " ".join(text.split()),
    "first_line": lambda text: text.strip().split("\n", 1)[0].strip(),
}


def postprocessed(text: str, steps: Sequence[str]) -> str:
    for step in steps:
        text = POSTPROCESS[step](text)
    return text
