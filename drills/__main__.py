"""What the tests do not do: real browsers, kills at random moments, load: `python -m drills [NAME …]`.

Each drill is a module here with a `main()`; without a name all of them run. Exit status: how many failed.
"""

from benchmarks.runner import run_all

if __name__ == "__main__":
    run_all(__file__, others=frozenset({"clusters", "dockerfile", "hosts", "training_run"}))
