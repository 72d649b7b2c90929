"""Speed and memory beside something else in the same run: `python -m benchmarks [NAME …]`.

Each benchmark is a module here with a `main()`; without a name all of them run, one process each. Exit
status: how many failed.
"""

import pkgutil
import subprocess
import sys
from pathlib import Path

NOT_ONE = {"__main__", "record", "texts"}


def main() -> None:
    names = [module.name for module in pkgutil.iter_modules([str(Path(__file__).parent)]) if module.name not in NOT_ONE]
    chosen = sys.argv[1:] or names
    if unknown := set(chosen) - set(names):
        sys.exit(f"error: no benchmark {', '.join(sorted(unknown))}; there are {', '.join(names)}")
    failed = [name for name in chosen if subprocess.run([sys.executable, "-m", f"benchmarks.{name}"]).returncode]
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    sys.exit(len(failed))


if __name__ == "__main__":
    main()
