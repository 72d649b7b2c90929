"""Hypothesis without deadlines: a busy machine is no failure."""

from hypothesis import settings

settings.register_profile("mglm", deadline=None)
settings.load_profile("mglm")
