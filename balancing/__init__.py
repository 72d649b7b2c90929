"""How much of each language a model should see: counts → plan/1, its plots, and a sample that follows it.

In: documents, pages or bytes per language. Out: the share of training sequences of each. The arithmetic (`fit_plan`)
needs neither files nor Spark; `balancing.sample_job` alone uses Spark.
"""

from balancing.fit import fit_plan

__all__ = ["fit_plan"]
