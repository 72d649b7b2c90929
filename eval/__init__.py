"""Evaluation: a task becomes prompted examples, a model's predictions become scores, scores become a report."""
