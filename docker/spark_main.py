"""The one entry for a cluster: `spark-submit docker/spark_main.py corpus build …` takes the same verbs as `mglm`."""

from mglm.cli import main

if __name__ == "__main__":
    main()
