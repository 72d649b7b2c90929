#!/bin/sh
# Runs one command of mglm on Spark on Kubernetes; pods share /data (kubernetes/storage.yaml):
#   IMAGE=registry/mglm-spark:1 docker/submit_kubernetes.sh https://API:6443 corpus build --input /data/crawl --output /data/corpus
# Plain spark-submit and no operator: nothing to install in the cluster, and a job is a command with an end and an exit
# status. Any machine with pyspark of the image's version, kubectl and rights in the namespace may run it (kubectl's
# configuration is taken). WAIT=false ends once the job is submitted.
set -eu
if [ $# -lt 2 ] || [ -z "${IMAGE:-}" ]; then
    echo "usage: IMAGE=… [EXECUTORS=4] [CORES=4] [MEMORY_OF_CORE=2g] [VOLUME=mglm-data] [WAIT=true] $0 API VERB …" >&2
    exit 2
fi
api=$1
shift
here=$(dirname "$0")
cores=${CORES:-4}
per_core=${MEMORY_OF_CORE:-2g}
home=${SPARK_HOME:-$(python3 -c 'import pathlib, pyspark; print(pathlib.Path(pyspark.__file__).parent)')}
volume=spark.kubernetes
namespace=mglm
wait=${WAIT:-true}
if [ "$wait" != false ] && ! command -v kubectl >/dev/null; then
    echo "error: no kubectl, which is asked at the end whether the job succeeded. Install it, or set WAIT=false" >&2
    exit 2
fi
driver=mglm-$(date -u +%Y%m%d-%H%M%S)-$(od -A n -N 4 -t x4 /dev/urandom | tr -d ' ')
# Text is in Python, outside the JVM: the overhead is what counts, and it grows with the cores.
"$home/bin/spark-submit" \
    --master "k8s://$api" --deploy-mode cluster --name "mglm $1" \
    --conf spark.kubernetes.namespace=$namespace \
    --conf spark.kubernetes.driver.pod.name="$driver" \
    --conf spark.kubernetes.authenticate.driver.serviceAccountName=spark \
    --conf spark.kubernetes.container.image="$IMAGE" \
    --conf spark.kubernetes.driver.podTemplateFile="$here/kubernetes/spark-pod.yaml" \
    --conf spark.kubernetes.driver.podTemplateContainerName=spark \
    --conf spark.kubernetes.executor.podTemplateFile="$here/kubernetes/spark-pod.yaml" \
    --conf spark.kubernetes.executor.podTemplateContainerName=spark \
    --conf $volume.driver.volumes.persistentVolumeClaim.data.mount.path=/data \
    --conf $volume.driver.volumes.persistentVolumeClaim.data.options.claimName="${VOLUME:-mglm-data}" \
    --conf $volume.executor.volumes.persistentVolumeClaim.data.mount.path=/data \
    --conf $volume.executor.volumes.persistentVolumeClaim.data.options.claimName="${VOLUME:-mglm-data}" \
    --conf spark.executor.instances="${EXECUTORS:-4}" \
    --conf spark.executor.cores="$cores" \
    --conf spark.executor.memory=1g \
    --conf spark.executor.memoryOverhead="$((cores * ${per_core%g}))g" \
    --conf spark.driver.memory=2g \
    --conf spark.driver.memoryOverhead=2g \
    --conf spark.kubernetes.submission.waitAppCompletion="$wait" \
    local:///opt/spark_main.py "$@"
[ "$wait" != false ] || exit 0
# spark-submit waits for the driver to end, and exits with 0 whichever way it ended (Spark 3.5).
phase=$(kubectl --namespace "$namespace" get pod "$driver" --output 'jsonpath={.status.phase}') || phase="not to be found"
if [ "$phase" != Succeeded ]; then
    echo "error: the driver's pod $driver is ${phase:-without a phase}, expected Succeeded." \
        "See why: kubectl --namespace $namespace logs $driver" >&2
    exit 1
fi
