#!/bin/sh
# Runs one command of mglm on Spark on YARN; HADOOP_CONF_DIR names the cluster, paths lie on storage that all nodes mount:
#   docker/submit_yarn.sh corpus build --input /shared/crawl --output /shared/corpus
# The program travels as a zip. What it needs travels as an archive of an environment, made once, on a machine like the
# nodes and with a Python at the same place:
#   sh docker/install.sh corpus none env && env/bin/pip install venv-pack && env/bin/venv-pack -p env -o mglm-env.tar.gz
# or lies on the shared storage already: PYTHON=/shared/env/bin/python.
set -eu
if [ $# -lt 2 ]; then
    echo "usage: [ENVIRONMENT=mglm-env.tar.gz | PYTHON=/shared/env/bin/python] [EXECUTORS=8] [CORES=4] $0 VERB …" >&2
    exit 2
fi
here=$(cd "$(dirname "$0")" && pwd)
cores=${CORES:-4}
program=$(mktemp -d)
trap 'rm -rf "$program"' EXIT
mglm package --output "$program/mglm.zip"
if [ -n "${PYTHON:-}" ]; then
    set -- "$here/spark_main.py" "$@"
    python=$PYTHON
else
    python=./environment/bin/python
    set -- --archives "${ENVIRONMENT:-mglm-env.tar.gz}#environment" "$here/spark_main.py" "$@"
fi
spark-submit --master yarn --deploy-mode cluster --name mglm \
    --py-files "$program/mglm.zip" \
    --conf spark.yarn.appMasterEnv.PYSPARK_PYTHON="$python" \
    --conf spark.executorEnv.PYSPARK_PYTHON="$python" \
    --conf spark.executor.instances="${EXECUTORS:-8}" \
    --conf spark.executor.cores="$cores" \
    --conf spark.executor.memory=1g \
    --conf spark.executor.memoryOverhead="$((cores * 2))g" \
    --conf spark.driver.memory=2g \
    --conf spark.driver.memoryOverhead=2g \
    --conf spark.yarn.maxAppAttempts=3 \
    "$@"
