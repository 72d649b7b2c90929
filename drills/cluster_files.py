"""The job files of docker/ as far as they can be tried without a cluster.

    python -m drills.cluster_files

Shell scripts by shellcheck, Kubernetes manifests by the schemas of Kubernetes. Then docker/submit_kubernetes.sh submits
a job to a server that says yes to everything and keeps what it is sent: the driver's pod that the real spark-submit
makes of our settings must fit the schema too, run our image without rights and see the shared storage.
"""

import json
import os
import subprocess
import sys
import tempfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import yaml

from core.spark import java_home

FOLDER = Path(__file__).parents[1] / "docker"
KUBERNETES = ("1.31", "1.34")
TOO_LONG_S = 300


def main() -> None:
    scripts = sorted([*FOLDER.glob("*.sh"), *FOLDER.glob("slurm/*.sbatch")])
    subprocess.run([Path(sys.executable).with_name("shellcheck"), *map(str, scripts)], check=True)
    print(f"shellcheck: nothing to say of {len(scripts)} scripts")
    manifests = sorted(FOLDER.glob("kubernetes/*.yaml"))
    fit_the_schema(manifests)
    kinds = [part["kind"] for path in manifests for part in yaml.safe_load_all(path.read_text("utf-8"))]
    print(f"kubernetes-validate: {len(kinds)} manifests are as Kubernetes {' and '.join(KUBERNETES)} wants them")
    sent = submitted()
    with tempfile.TemporaryDirectory(prefix="mglm-drill-") as folder:
        files = [Path(folder) / f"{number}.yaml" for number in range(len(sent))]
        for path, part in zip(files, sent, strict=True):
            path.write_text(json.dumps(part), "utf-8")
        fit_the_schema(files)
    (pod,) = (part for part in sent if part["kind"] == "Pod")
    is_as_meant(pod)
    print(f"submit_kubernetes.sh: {', '.join(part['kind'] for part in sent)} as they should be")


def fit_the_schema(manifests: list[Path]) -> None:
    for version in KUBERNETES:
        words = [
            Path(sys.executable).with_name("kubernetes-validate"),
            "--strict",
            "--quiet",
            "--kubernetes-version",
            version,
        ]
        if subprocess.run([*words, *map(str, manifests)]).returncode:
            sys.exit(f"error: not as Kubernetes {version} wants it")


def submitted() -> list[dict[str, Any]]:
    """What spark-submit sends for a job, by the script."""
    sent: list[dict[str, Any]] = []

    class Yes(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer({"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound"}, 404)

        def do_POST(self) -> None:
            part = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            sent.append(part)
            self._answer(part | {"metadata": part["metadata"] | {"uid": "given-by-the-drill"}}, 201)

        do_PATCH = do_POST

        def _answer(self, body: dict[str, Any], status: int) -> None:
            data = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *arguments: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Yes)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    settings = {"IMAGE": "registry/mglm-spark:1", "WAIT": "false", "KUBECONFIG": "", "JAVA_HOME": str(java_home())}
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    script = [str(FOLDER / "submit_kubernetes.sh"), f"http://127.0.0.1:{server.server_port}"]
    job = ["corpus", "build", "--input", "/data/crawl", "--output", "/data/corpus"]
    command, environment = ["sh", *script, *job], os.environ | settings | {"PATH": path}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=TOO_LONG_S)
    server.shutdown()
    assert done.returncode == 0, done.stderr[-3000:]
    return sent


def is_as_meant(pod: dict[str, Any]) -> None:
    """The driver's pod: our image and command, a name that can be asked for, the shared storage, nobody's rights."""
    assert pod["metadata"]["name"].startswith("mglm-2"), pod["metadata"]  # the script's, by the time
    (container,) = pod["spec"]["containers"]
    assert container["image"] == "registry/mglm-spark:1", container
    assert container["args"][0] == "driver", container["args"]
    assert container["args"][-7:] == [
        "local:///opt/spark_main.py", "corpus", "build", "--input", "/data/crawl", "--output", "/data/corpus"
    ], container["args"]  # fmt: skip
    mounts = {mount["mountPath"] for mount in container["volumeMounts"]}
    assert {"/data", "/tmp"} <= mounts, mounts
    claims = [volume.get("persistentVolumeClaim", {}).get("claimName") for volume in pod["spec"]["volumes"]]
    assert "mglm-data" in claims, claims
    assert pod["spec"]["serviceAccountName"] == "spark", pod["spec"]
    assert pod["spec"]["securityContext"]["runAsNonRoot"], pod["spec"]
    assert container["securityContext"]["readOnlyRootFilesystem"], container


if __name__ == "__main__":
    main()
