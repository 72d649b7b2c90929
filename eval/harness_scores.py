"""What lm-evaluation-harness calls for each example of a task of ours: our scorers on what a model said."""

import json
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from core.examples import Example
from eval.answers import postprocessed
from eval.scorers import scorer_of
from model.streaming import clean


def process_results(doc: Mapping[str, Any], results: Sequence[Any]) -> dict[str, float]:
    """The task's measures for one example, in the scorer's own scale: percent for answers, shares for summaries.

    `results` holds what was written; or of a choice the log-probability of each of `doc["choices"]`, of which the label
    of the highest mean probability is taken (paper §2.3).
    """
    ours = json.loads(doc["mglm"])
    example = Example.model_validate(ours["example"])
    if example.choices:
        labels = [label for label, words in example.choices.items() for _ in words]
        of_label: dict[str, list[float]] = defaultdict(list)
        for label, (log, _) in zip(labels, results, strict=True):
            of_label[label].append(math.exp(log))
        said = max(of_label, key=lambda label: math.fsum(of_label[label]) / len(of_label[label]))
    else:
        said = postprocessed(clean(str(results[0])), ours["postprocess"])
    scorer = scorer_of(ours["scorer"])
    (scores,) = scorer.each([example.references or [example.target]], [said], example.target_lang)
    return {name: scorer.scale * float(score) for name, score in zip(scorer.measures, scores, strict=True)}
