"""docker/Dockerfile without Docker: its instructions run in clean roots, its images as their users run them.

A root has this machine's programs and libraries read-only (/usr and the like), a copy of /etc, this Python, and
nothing else: no checkout, no environment. COPY takes from the repository only what Dockerfile.dockerignore lets
through, RUN runs in the root by chroot, stages are roots of their own. Needs root, for mount and chroot.

What this cannot show: that the base image named in the Dockerfile has what this machine's system has.
"""

import fnmatch
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]
DOCKERFILE = REPOSITORY / "docker" / "Dockerfile"
SYSTEM = ("usr", "bin", "sbin", "lib", "lib64", "dev", "proc")
PATH = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}


@dataclass
class Image:
    """A stage as it is built: its root and what its instructions set."""

    root: Path
    environment: dict[str, str] = field(default_factory=dict)
    arguments: dict[str, str] = field(default_factory=dict)
    directory: str = "/"
    user: str = ""
    entrypoint: list[str] = field(default_factory=list)
    arguments_by_default: list[str] = field(default_factory=list)
    health: list[str] = field(default_factory=list)

    def size_bytes(self) -> int:
        """What it adds to its base image."""
        places = [self.root / name for name in ("opt", "data", "model")]
        return sum(path.lstat().st_size for place in places for path in place.rglob("*") if path.is_file())


@dataclass(frozen=True)
class Mount:
    """A directory of this machine that a container sees, as `docker run -v` has it."""

    source: Path
    writable: bool = False


def build(folder: Path, target: str) -> Image:
    """Runs the instructions of `target` and of the stages that it copies from."""
    of_stage = stages(DOCKERFILE.read_text("utf-8"))
    if target not in of_stage:
        sys.exit(f"error: no target {target}; there are {', '.join(of_stage)}")
    built: dict[str, Image] = {}
    for name in needed(of_stage, target):
        image = built[name] = Image(clean_root(folder / name))
        for instruction, rest in of_stage[name]:
            started = time.monotonic()
            follow(image, instruction, rest, built)
            print(f"{time.monotonic() - started:6.1f} s  {name}: {instruction} {rest[:90]}", flush=True)
    return built[target]


def stages(text: str) -> dict[str, list[tuple[str, str]]]:
    """The instructions of each stage, by its name; those before the first name base images and are left out."""
    found: dict[str, list[tuple[str, str]]] = {}
    for instruction, rest in instructions(text):
        if instruction == "FROM":
            found[rest.split(" AS ")[1]] = []
        elif found:
            found[next(reversed(found))].append((instruction, rest))
    return found


def instructions(text: str) -> Iterator[tuple[str, str]]:
    """Each instruction with its arguments on one line."""
    lines = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
    for line in lines.replace("\\\n", " ").splitlines():
        if line.strip():
            name, _, rest = line.strip().partition(" ")
            yield name, " ".join(rest.split())


def needed(of_stage: Mapping[str, list[tuple[str, str]]], target: str) -> list[str]:
    """`target` and the stages it copies from, in the order of the file."""
    wanted = {target}
    for name in reversed(of_stage):
        if name in wanted:
            wanted |= {match[1] for _, rest in of_stage[name] if (match := re.match(r"--from=(\S+)", rest))}
    return [name for name in of_stage if name in wanted]


def follow(image: Image, instruction: str, rest: str, built: Mapping[str, Image]) -> None:
    if instruction == "ARG":
        name, _, value = rest.partition("=")
        image.arguments[name] = value
    elif instruction == "ENV":
        image.environment.update(pair.split("=", 1) for pair in shlex.split(rest))
    elif instruction == "WORKDIR":
        image.directory = rest
        inside(image, rest).mkdir(parents=True, exist_ok=True)
    elif instruction == "COPY":
        copy(image, rest, built)
    elif instruction == "RUN":
        subprocess.run(in_root(image, ["sh", "-c", rest]), check=True, env=PATH)
    elif instruction == "USER":
        image.user = rest
    elif instruction == "ENTRYPOINT":
        image.entrypoint = json.loads(rest)
    elif instruction == "CMD":
        image.arguments_by_default = json.loads(rest)
    elif instruction == "HEALTHCHECK":
        image.health = json.loads(rest.partition("CMD ")[2])
    elif instruction not in ("EXPOSE", "STOPSIGNAL"):
        sys.exit(f"error: {instruction} is not known to this drill")


def copy(image: Image, rest: str, built: Mapping[str, Image]) -> None:
    words = shlex.split(rest)
    origin = None
    if words[0].startswith("--from="):
        origin = built[words.pop(0).removeprefix("--from=")]
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
    subprocess.run(["cp", "--archive", "/etc", str(root / "etc")], check=True)
    return root


def in_root(image: Image, words: Sequence[str], mounts: Mapping[str, Mount] | None = None) -> list[str]:
    """Runs `words` in the image's root, in namespaces of their own, so that no mount outlives them.

    With mounts: as `docker run --user --read-only --tmpfs /tmp -v …` does, in a network of its own. Without: a RUN.
    """
    root = shlex.quote(str(image.root))
    script = ["set -e", f"mount --bind {root} {root}"]
    for path in [*(f"/{name}" for name in SYSTEM), sys.base_prefix, *(pip_reads() if mounts is None else [])]:
        if Path(path).exists():
            script += [f"mkdir -p {root}{path}", f"mount --rbind {path} {root}{path}"]
            if path not in ("/dev", "/proc"):
                script.append(f"mount -o remount,bind,ro {root}{path}")
    who = ""
    settings = settings_of(image)
    if mounts is None:
        settings |= image.arguments | {name: value for name, value in os.environ.items() if name.startswith("PIP_")}
    else:
        for place, mount in mounts.items():
            script += [f"mkdir -p {root}{place}", f"mount --bind {shlex.quote(str(mount.source))} {root}{place}"]
            if not mount.writable:
                script.append(f"mount -o remount,bind,ro {root}{place}")
        script += [f"mount -t tmpfs tmpfs {root}/tmp", f"mount -o remount,bind,ro {root}", "ip link set lo up"]
        who = f"--userspec={image.user} "
    given = " ".join(f"{name}={shlex.quote(value)}" for name, value in settings.items())
    run = shlex.quote(f"cd {image.directory} && exec {shlex.join(words)}")
    script.append(f"exec chroot {who}{root} /usr/bin/env -i {given} sh -c {run}")
    return ["unshare", "--mount", *(["--net"] if mounts is not None else []), "sh", "-c", "\n".join(script)]


def settings_of(image: Image) -> dict[str, str]:
    """Its ENV; behind its own PATH that of this Python, which stands in for the base image's."""
    own = image.environment.get("PATH", "/usr/local/bin:/usr/bin:/bin")
    return {**image.environment, "PATH": f"{own}:{sys.base_prefix}/bin"}


def beside(container: "subprocess.Popen[str]", image: Image, words: Sequence[str], **settings: str) -> list[str]:
    """What runs `words` where a container runs, as `docker exec` does."""
    user, group = image.user.split(":")
    enter = ["nsenter", "--target", str(container.pid), "--mount", "--net", "--root", "--wd"]
    given = [f"{name}={value}" for name, value in (settings_of(image) | settings).items()]
    return [*enter, "--setuid", user, "--setgid", group, "--", "/usr/bin/env", "-i", *given, *words]


def pip_reads() -> list[str]:
    """Directories that this machine's pip is configured to read; Docker's would ask the network alone."""
    told = subprocess.run([sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True).stdout
    paths = re.findall(r"(?:file://|')(/[^\s']+)", told)
    return sorted({path for path in paths if Path(path).is_dir() and not path.startswith(("/etc", "/usr"))})
