#!/bin/bash
# What Spark on Kubernetes starts in its pods: `driver …` or `executor …`, with the settings in SPARK_* variables. (Spark's
# own image has a script like it; the pip package, which this image is made of, has none.) Anything else is run as it is:
#   docker run mglm-spark mglm corpus build …
#   docker run mglm-spark spark-submit --master spark://… --py-files … /opt/spark_main.py corpus build …
set -euo pipefail

case ${1:-} in
    driver)
        shift
        exec "$SPARK_HOME/bin/spark-submit" \
            --conf "spark.driver.bindAddress=$SPARK_DRIVER_BIND_ADDRESS" \
            --conf "spark.executorEnv.SPARK_DRIVER_POD_IP=$SPARK_DRIVER_BIND_ADDRESS" \
            --deploy-mode client "$@"
        ;;
    executor)
        shift
        options=()
        # Spark numbers the options of the executor's JVM: SPARK_JAVA_OPT_0, SPARK_JAVA_OPT_1, …
        while IFS= read -r name; do options+=("${!name}"); done < <(compgen -v SPARK_JAVA_OPT_ | sort -t _ -k 4 -n)
        classes="${SPARK_CLASSPATH:+$SPARK_CLASSPATH:}$SPARK_HOME/jars/*${SPARK_EXTRA_CLASSPATH:+:$SPARK_EXTRA_CLASSPATH}"
        exec "$JAVA_HOME/bin/java" "${options[@]}" "-Xms$SPARK_EXECUTOR_MEMORY" "-Xmx$SPARK_EXECUTOR_MEMORY" \
            -cp "${SPARK_CONF_DIR:+$SPARK_CONF_DIR:}$classes" \
            org.apache.spark.scheduler.cluster.k8s.KubernetesExecutorBackend \
            --driver-url "$SPARK_DRIVER_URL" \
            --executor-id "$SPARK_EXECUTOR_ID" \
            --cores "$SPARK_EXECUTOR_CORES" \
            --app-id "$SPARK_APPLICATION_ID" \
            --hostname "$SPARK_EXECUTOR_POD_IP" \
            --resourceProfileId "$SPARK_RESOURCE_PROFILE_ID" \
            --podName "$SPARK_EXECUTOR_POD_NAME" "$@"
        ;;
    *) exec "$@" ;;
esac
