"""Runs every command of docs/runbook.md, in its order, in the folder of someone who follows it.

    python -m drills.runbook [--keep DIR]

The crawl is a few WET files made here from examples/, fetched from a server of this machine in Common Crawl's place;
sizes, hosts and the published data set are exchanged for small ones (SUBSTITUTES), nothing else. A command that fails,
a directory without its manifest, or a substitute that no longer stands in the runbook fails the drill.
"""

import argparse
import gzip
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from drills.training_run import ROOT, free_port

RUNBOOK = ROOT / "docs" / "runbook.md"
TOO_LONG_S = 900
LATER = "sw"  # the language that the first crawl has nothing of
CRAWL, FILES = "crawl-data/CC-MAIN-2024-10", 3
CONFIG = """
[spark]
java_options = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"
[corpus]
heldout_share = 0.15
[tokenizer]
vocab_size = 3000
[model]
num_layers = 2
hidden_size = 64
num_attention_heads = 4
sequence_length = 64
max_positions = 193
hidden_dropout = 0.0
attention_dropout = 0.0
[pretrain]
steps = 12
global_batch_size = 4
micro_batch_size = 2
warmup_steps = 2
save_interval = 4
heldout_documents = 1
distributed_optimizer = true
[finetune]
steps = 8
global_batch_size = 4
micro_batch_size = 2
warmup_steps = 2
source_length = 128
target_length = 32
[eval]
max_source_tokens = 128
max_new_tokens = 8
num_beams = 2
max_examples_per_pair = 1
max_documents_per_language = 2
[serve]
max_new_tokens = 8
[estimate]
gpus = 2
gpus_per_node = 2
"""


def substitutes(server: str, port: int) -> dict[str, str]:
    """What a newcomer's machine has not, and what stands for it here."""
    return {
        "cp configs/large.toml my.toml": "test -s my.toml",
        "https://data.commoncrawl.org": server,
        "head -n 100 ": f"head -n {FILES} ",
        "--budget-tokens 7.9e11": "--budget-tokens 1e6",
        "--nproc 64": "--nproc 2",
        "--nproc 8": "--nproc 2",
        "--nnodes 8 --nproc-per-node 8": "--nnodes 1 --nproc-per-node 2",
        '"$FIRST_HOST:29400"': f"127.0.0.1:{free_port()}",
        "--task ncls_en2zh --input NCLS": f"--task summaries --input {ROOT / 'examples' / 'documents.jsonl'}",
        "--pieces 2000": "--pieces 100",
        "pretrain.steps=700000": "pretrain.steps=16",
        "pretrain.steps=800000": "pretrain.steps=20",
        "--host 0.0.0.0 --port 8000": f"--host 0.0.0.0 --port {port}",
        "http://localhost:8000": f"http://localhost:{port}",
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keep", type=Path, help="work here, and leave it to be looked at")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mglm-drill-") as folder:
        work = (arguments.keep or Path(folder)).resolve()
        work.mkdir(parents=True, exist_ok=True)
        follow(work)


def follow(work: Path) -> None:
    make_folder(work)
    commands = list(commands_of(RUNBOOK.read_text("utf-8")))
    with web_server(work / "web") as server, Service() as service:
        changed = substitutes(server, free_port())
        for wanted in changed:
            assert any(wanted in command for command in commands), f"the runbook has no {wanted!r} any more"
        for command in commands:
            for wanted, instead in changed.items():
                command = command.replace(wanted, instead)
            started = time.monotonic()
            if command.startswith("mglm serve"):
                service.start(command, work)
            else:
                run(command, work)
            print(f"{time.monotonic() - started:5.1f} s  {' '.join(command.split())}", flush=True)
        service.stop()
    unfinished = [path.name for path in (work / "runs").iterdir() if path.is_dir() and not is_whole(path)]
    assert not unfinished, f"without a manifest: {unfinished}"
    print(f"{len(commands)} commands of {RUNBOOK.name}, in their order", flush=True)


def commands_of(text: str) -> Iterator[str]:
    """The indented blocks, command by command; a line that ends in a backslash, or leaves a quote open, goes on."""
    for block in re.findall(r"(?:^    .*\n)+", text, re.MULTILINE):
        command = ""
        for line in block.splitlines():
            command += line.removeprefix("    ")
            if command.endswith("\\"):
                command += "\n"
            else:
                yield command
                command = ""
        assert not command, f"a command without its end: {command}"


def is_whole(directory: Path) -> bool:
    """Complete as a stage, or the folder of a report, which has a page instead."""
    return (directory / "manifest.json").exists() or any(directory.glob("*.html")) or any(directory.glob("plan*.json"))


def make_folder(work: Path) -> None:
    """The newcomer's folder: a small config, an article, more crawl; and Common Crawl's server beside it."""
    (work / "my.toml").write_text(CONFIG, "utf-8")
    lines = (ROOT / "examples" / "documents.jsonl").read_text("utf-8").splitlines()
    records = [json.loads(line) for line in lines]
    (work / "examples").mkdir()
    (work / "examples" / "unseen.txt").write_text((ROOT / "examples" / "unseen.txt").read_text("utf-8"), "utf-8")
    now = [record for record in records if record["lang"] != LATER]
    later = [record for record in records if record["lang"] == LATER]
    assert later, f"examples/ has no document in {LATER}"
    names = [f"{CRAWL}/segments/1/wet/part-{number:05d}.warc.wet.gz" for number in range(FILES)]
    for number, name in enumerate(names):
        write_wet(work / "web" / name, now[number::FILES])
    with gzip.open(work / "web" / CRAWL / "wet.paths.gz", "wt", encoding="utf-8") as file:
        file.writelines(f"{name}\n" for name in [*names, "beyond/what/was/asked.warc.wet.gz"])
    # New pages of an old language too.
    write_wet(work / "crawl-2" / "part-00000.warc.wet.gz", [*later, now[0] | {"text": now[0]["text"] + "\nUpdated."}])
    programs = work / "bin"
    programs.mkdir(exist_ok=True)
    for name, module in (("mglm", "mglm"), ("torchrun", "torch.distributed.run")):
        program = programs / name
        program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m {module} "$@"\n', "utf-8")
        program.chmod(0o755)


def write_wet(path: Path, records: list[dict[str, str]]) -> None:
    """As Common Crawl has them: records one by one packed, the first of them about the file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.write(gzip.compress(wet_record("warcinfo", "", "Software-Info: none\n")))
        for number, record in enumerate(records):
            file.write(gzip.compress(wet_record("conversion", f"https://example.org/{number}", record["text"])))


def wet_record(kind: str, address: str, text: str) -> bytes:
    body = text.encode()
    target = f"WARC-Target-URI: {address}\r\n" if address else ""
    head = (
        f"WARC/1.0\r\nWARC-Type: {kind}\r\n{target}WARC-Date: 2024-02-20T00:00:00Z\r\n"
        f"Content-Type: text/plain\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body + b"\r\n\r\n"


@contextmanager
def web_server(folder: Path) -> Iterator[str]:
    """Serves a folder; yields the address."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *given: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def environment(work: Path) -> dict[str, str]:
    path = os.pathsep.join([str(work / "bin"), os.environ["PATH"]])
    loopback = {"GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1"}
    return os.environ | {"PATH": path, "PYTHONPATH": str(ROOT), "no_proxy": "localhost,127.0.0.1", **loopback}


def run(command: str, work: Path) -> None:
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", command], cwd=work, env=environment(work), text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=TOO_LONG_S,
    )  # fmt: skip
    assert done.returncode == 0, f"{command}\nended with status {done.returncode}\n{done.stdout[-4000:]}"


class Service:
    """`mglm serve` in the background, as in a terminal of its own; ended by SIGTERM, with status 0."""

    process: "subprocess.Popen[bytes] | None" = None

    def start(self, command: str, work: Path) -> None:
        with (work / "serve.log").open("wb") as log:
            self.process = subprocess.Popen(
                ["bash", "-c", f"exec {command}"], cwd=work, env=environment(work), stdout=log, stderr=log
            )

    def stop(self) -> None:
        assert self.process is not None, "the runbook serves nothing"
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(TOO_LONG_S) == 0, "the service did not end well"

    def __enter__(self) -> "Service":
        return self

    def __exit__(self, *_: object) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()


if __name__ == "__main__":
    main()
