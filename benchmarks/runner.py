"""Runs every module of a folder, or those named on the command line, one process each."""

import pkgutil
import subprocess
import sys
from pathlib import Path


def run_all(main_file: str, others: frozenset[str] = frozenset(), only_by_name: frozenset[str] = frozenset()) -> None:
    """Runs the modules beside `main_file`, a package's `__main__.py`, but `others`; ends with how many failed."""
    folder = Path(main_file).parent
    names = [module.name for module in pkgutil.iter_modules([str(folder)]) if module.name not in others | {"__main__"}]
    chosen = sys.argv[1:] or [name for name in names if name not in only_by_name]
    if unknown := set(chosen) - set(names):
        sys.exit(f"error: {folder.name} has no {', '.join(sorted(unknown))}; there are {', '.join(names)}")
    failed = [name for name in chosen if subprocess.run([sys.executable, "-m", f"{folder.name}.{name}"]).returncode]
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    sys.exit(len(failed))
