"""The service against its own description: schemathesis makes requests from /openapi.json, right and wrong ones.

    python -m drills.serve_fuzz [--examples 60]

A tiny model answers. Every check of schemathesis must pass: no 5xx, only documented statuses, media types and headers,
bodies as described, wrong data refused, right data accepted. Left out: /v1/models/reload, which takes no input and
starts a process each time (the tests reload).
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.serve.running import Service
from tests.serve.tiny_model import write_model


def main() -> None:
    """Exit status of schemathesis; also non-zero where the service died or logged an exception."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--examples", type=int, default=60, help="of each route, and of each of schemathesis' phases")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mglm-fuzz-") as folder:
        service = Service(write_model(Path(folder) / "tiny"), device="cpu", max_characters=300, max_texts=3).ready()
        try:
            # schemathesis keeps what failed in its working directory.
            command = [sys.executable, "-m", "schemathesis.cli", "run", f"{service.url}/openapi.json",
                       "--checks", "all", "--max-examples", str(arguments.examples), "--seed", str(arguments.seed),
                       "--no-color", "--exclude-path", "/v1/models/reload", "--request-timeout", "60"]  # fmt: skip
            status = subprocess.run(command, cwd=folder).returncode
            if service.process.poll() is not None:
                sys.exit("error: the service ended under the requests")
            requests = len(service.events("request"))
        finally:
            ended = service.stop()
    failed = [line for line in service.lines if '"exception"' in line]
    print(f"{requests} requests answered; {len(failed)} exceptions in the log; the service ended with status {ended}")
    sys.exit(status or ended or bool(failed))


if __name__ == "__main__":
    main()
