"""The serving image without Docker: its Dockerfile linted, and every step of it run in a clean root.

    python -m drills.serve_image [--target serve] [--keep DIR]

The root has this machine's operating system read-only (/usr, /etc and the like), this Python, and nothing else: no
checkout, no environment. COPY takes from the repository only what Dockerfile.dockerignore lets through, RUN runs in the
root by chroot, stages are roots of their own. Then the image runs as its ENTRYPOINT says, as its user, with the root
read-only, /tmp in memory and a tiny model at /model; the HEALTHCHECK is asked, a summary is made, nothing outside /tmp
can be written, and SIGTERM ends it. Needs root, for mount and chroot.

What this does not show: that the base image named in the Dockerfile has what this machine's system has.
"""

import argparse
import fnmatch
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.serve.tiny_model import article, write_model

REPOSITORY = Path(__file__).parents[1]
DOCKERFILE = REPOSITORY / "docker" / "Dockerfile"
SYSTEM = ("usr", "bin", "sbin", "lib", "lib64", "etc", "dev", "proc")
PATH = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
PATIENCE_S = 180.0
TOKEN = "a-token-for-the-image"
PYTHON = ["/opt/mglm/bin/python", "-c"]
ASK = """
import json, sys, urllib.request
headers = {"Authorization": "Bearer " + sys.argv[1], "Content-Type": "application/json"}
body = json.dumps({"text": sys.argv[2], "target": "zh"}).encode()
request = urllib.request.Request("http://127.0.0.1:8000/v1/summaries", body, headers)
sys.stdout.write(urllib.request.urlopen(request, timeout=180).read().decode())
"""


@dataclass
class Image:
    """A stage as it is built: its root and what its instructions set."""

    root: Path
    environment: dict[str, str] = field(default_factory=dict)
    arguments: dict[str, str] = field(default_factory=dict)
    directory: str = "/"
    user: str = ""
    entrypoint: list[str] = field(default_factory=list)
    health: list[str] = field(default_factory=list)


def main() -> None:
    """Ends with an error at the first thing that is not as it should be."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--target", default="serve")
    parser.add_argument("--keep", type=Path, help="build here, and leave it to be looked at")
    arguments = parser.parse_args()
    if os.geteuid() != 0:
        sys.exit("error: mount and chroot need root; found another user. Run it in a machine or container of your own")
    subprocess.run(["hadolint", str(DOCKERFILE)], check=True)
    print("hadolint: nothing to say", flush=True)
    with tempfile.TemporaryDirectory(prefix="mglm-image-") as folder:
        where = arguments.keep or Path(folder)
        image = build(where, arguments.target)
        size_bytes = sum(path.lstat().st_size for path in image.root.rglob("*") if path.is_file())
        print(f"built: {size_bytes / 1e9:.2f} GB beside the base image", flush=True)
        model = write_model(where / "weights")
        (model / "model.safetensors").chmod(0o644)  # the image's user must be able to read what is mounted
        serves(image, model)


def build(folder: Path, target: str) -> Image:
    """Runs the instructions up to the end of `target`."""
    stages: dict[str, Image] = {}
    arguments: dict[str, str] = {}
    image: Image | None = None
    for instruction, rest in instructions(DOCKERFILE.read_text("utf-8")):
        started = time.monotonic()
        if instruction == "FROM":
            if image is not None and target in stages:
                break
            name = rest.split(" AS ")[1]
            image = stages[name] = Image(clean_root(folder / name))
        elif image is None:
            arguments.update([rest.split("=", 1)])
            continue
        else:
            follow(image, instruction, rest, stages)
        print(f"{time.monotonic() - started:6.1f} s  {instruction} {rest[:90]}", flush=True)
    return stages[target]


def instructions(text: str) -> Iterator[tuple[str, str]]:
    """Each instruction with its arguments on one line."""
    lines = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
    for line in lines.replace("\\\n", " ").splitlines():
        if line.strip():
            name, _, rest = line.strip().partition(" ")
            yield name, " ".join(rest.split())


def follow(image: Image, instruction: str, rest: str, stages: Mapping[str, Image]) -> None:
    if instruction == "ARG":
        name, _, value = rest.partition("=")
        image.arguments[name] = value
    elif instruction == "ENV":
        image.environment.update(pair.split("=", 1) for pair in shlex.split(rest))
    elif instruction == "WORKDIR":
        image.directory = rest
        inside(image, rest).mkdir(parents=True, exist_ok=True)
    elif instruction == "COPY":
        copy(image, rest, stages)
    elif instruction == "RUN":
        subprocess.run(command(image, ["sh", "-c", rest]), check=True, env=PATH)
    elif instruction == "USER":
        image.user = rest
    elif instruction == "ENTRYPOINT":
        image.entrypoint = json.loads(rest)
    elif instruction == "HEALTHCHECK":
        image.health = json.loads(rest.partition("CMD ")[2])
    elif instruction not in ("EXPOSE", "STOPSIGNAL"):
        sys.exit(f"error: {instruction} is not known to this drill")


def copy(image: Image, rest: str, stages: Mapping[str, Image]) -> None:
    words = shlex.split(rest)
    origin = None
    if words[0].startswith("--from="):
        origin = stages[words.pop(0).removeprefix("--from=")]
    *sources, target = words
    for source in sources:
        from_path = inside(origin, source) if origin else REPOSITORY / source
        if origin is None and not let_through(source):
            sys.exit(f"error: COPY {source}, but Dockerfile.dockerignore keeps it out")
        directory = target.endswith("/") or (from_path.is_file() and inside(image, target).is_dir())
        to_path = inside(image, target) / from_path.name if directory else inside(image, target)
        to_path.parent.mkdir(parents=True, exist_ok=True)
        if from_path.is_dir():
            left_out = shutil.ignore_patterns("__pycache__") if origin is None else None
            shutil.copytree(from_path, to_path, symlinks=True, ignore=left_out)
        else:
            shutil.copy2(from_path, to_path)


def let_through(source: str) -> bool:
    """By the ignore file, whose later lines win."""
    through = True
    for line in DOCKERFILE.with_name("Dockerfile.dockerignore").read_text("utf-8").splitlines():
        if line and not line.startswith("#") and fnmatch.fnmatch(source, line.removeprefix("!")):
            through = line.startswith("!")
    return through


def inside(image: Image, path: str) -> Path:
    return image.root / os.path.normpath(os.path.join(image.directory, path)).lstrip("/")  # noqa: PTH118


def clean_root(root: Path) -> Path:
    for name in (*SYSTEM, "tmp", "root"):
        (root / name).mkdir(parents=True, exist_ok=True)
    (root / "tmp").chmod(0o1777)
    return root


def command(image: Image, words: list[str], model: Path | None = None) -> list[str]:
    """Runs `words` in the image's root, in namespaces of their own, so that no mount outlives them.

    With a model: as `docker run --user --read-only --tmpfs /tmp -v MODEL:/model:ro` does, in a network of its own.
    """
    root = shlex.quote(str(image.root))
    script = ["set -e", f"mount --bind {root} {root}"]
    for path in [*(f"/{name}" for name in SYSTEM), sys.base_prefix, *([] if model else pip_reads())]:
        if Path(path).exists():
            script += [f"mkdir -p {root}{path}", f"mount --rbind {path} {root}{path}"]
            if path not in ("/dev", "/proc"):
                script.append(f"mount -o remount,bind,ro {root}{path}")
    who = ""
    settings = {"PATH": f"{sys.base_prefix}/bin:/usr/local/bin:/usr/bin:/bin", **image.environment}
    if model is not None:
        script += [f"mount --bind {shlex.quote(str(model))} {root}/model", f"mount -o remount,bind,ro {root}/model"]
        script += [f"mount -t tmpfs tmpfs {root}/tmp", f"mount -o remount,bind,ro {root}", "ip link set lo up"]
        who = f"--userspec={image.user} "
        settings["MGLM_SERVE_TOKENS"] = TOKEN
    else:
        settings |= image.arguments | {name: value for name, value in os.environ.items() if name.startswith("PIP_")}
    given = " ".join(f"{name}={shlex.quote(value)}" for name, value in settings.items())
    run = shlex.quote(f"cd {image.directory} && exec {shlex.join(words)}")
    script.append(f"exec chroot {who}{root} /usr/bin/env -i {given} sh -c {run}")
    return ["unshare", "--mount", *(["--net"] if model is not None else []), "sh", "-c", "\n".join(script)]


def pip_reads() -> list[str]:
    """Directories that this machine's pip is configured to read; Docker's would ask the network alone."""
    told = subprocess.run([sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True).stdout
    paths = re.findall(r"(?:file://|')(/[^\s']+)", told)
    return sorted({path for path in paths if Path(path).is_dir() and not path.startswith(("/etc", "/usr"))})


def serves(image: Image, model: Path) -> None:
    """Runs it as its users do, and asks it what they ask."""
    service = subprocess.Popen(command(image, image.entrypoint, model), stderr=subprocess.PIPE, text=True, env=PATH)
    lines: list[str] = []
    reader = threading.Thread(target=lambda: lines.extend(service.stderr or ()), daemon=True)
    reader.start()
    try:
        until = time.monotonic() + PATIENCE_S
        while beside(service, image, image.health).returncode:
            if service.poll() is not None or time.monotonic() > until:
                sys.exit("error: the health check does not pass\n" + "".join(lines[-20:]))
            time.sleep(0.5)
        print("HEALTHCHECK passes", flush=True)
        asked = beside(service, image, [*PYTHON, ASK, TOKEN, article(1)])
        if asked.returncode:
            sys.exit("error: no summary\n" + asked.stderr + "".join(lines[-20:]))
        (answer,) = json.loads(asked.stdout)["summaries"]
        print(f"a summary of {answer['output_tokens']} tokens, language {answer['language']['code']}", flush=True)
        refused = beside(service, image, [*PYTHON, ASK, "wrong", article(1)])
        if "401" not in refused.stderr:
            sys.exit("error: served without its token")
        status = Path(f"/proc/{service.pid}/status").read_text("ascii")
        uids = re.findall(r"^Uid:(.*)$", status, re.MULTILINE)[0].split()
        if set(uids) != {image.user.partition(":")[0]}:
            sys.exit(f"error: runs as user {uids}")
        for place in ("/", "/model", "/opt/mglm", "/etc", "/usr", "/tmp"):
            written = beside(service, image, ["sh", "-c", f"touch {place}/written"]).returncode == 0
            if written != (place == "/tmp"):
                sys.exit(f"error: {place} can{'' if written else 'not'} be written")
        print(f"user {uids[0]}, nothing but /tmp can be written, no token no answer", flush=True)
        service.terminate()
        if service.wait(PATIENCE_S):
            sys.exit(f"error: SIGTERM ended it with status {service.returncode}\n" + "".join(lines[-20:]))
        print("SIGTERM ends it with status 0")
    finally:
        service.kill()
        service.wait()
        reader.join()


def beside(service: "subprocess.Popen[str]", image: Image, words: list[str]) -> "subprocess.CompletedProcess[str]":
    """Runs `words` where the service runs, as `docker exec` does."""
    user, group = image.user.split(":")
    enter = ["nsenter", "--target", str(service.pid), "--mount", "--net", "--root", "--wd"]
    as_user = ["--setuid", user, "--setgid", group]
    return subprocess.run([*enter, *as_user, "--", *words], capture_output=True, text=True, env=PATH)


if __name__ == "__main__":
    main()
