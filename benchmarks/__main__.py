"""Speed and memory beside something else in the same run: `python -m benchmarks [NAME …]`.

Each benchmark is a module here with a `main()`; without a name all of them run but those that take hours or need what
the project does not bring. Their options: `python -m benchmarks.NAME --help`. Exit status: how many failed.
"""

from benchmarks.runner import run_all

if __name__ == "__main__":
    run_all(
        __file__,
        frozenset(
            {
                "crawls",
                "evidence_blanks",
                "evidence_report",
                "record",
                "runner",
                "shards",
                "synthetic_crawl",
                "texts",
            }
        ),
        frozenset({"evidence", "lid_combination", "lid_sources", "precision", "small_world", "tokenizer_fairness"}),
    )
