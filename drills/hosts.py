"""Several hosts on this machine: network, host name and /etc/hosts of their own, joined by a switch.

In Linux namespaces, each held open by a process; nothing of the machine's own network is touched, and nothing stays
when the drill ends, however it ends. What runs on a host reaches the others by name and nobody else. The disk is
shared, as the storage of a cluster is; so are memory, cores and process numbers.
"""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

import psutil

from core.processes import end_with_parent

NETWORK = "10.77.0"
INTERFACE = "eth0"


def need_namespaces(module: str) -> None:
    """Starts the drill again as root of a user namespace, where it is not root; ends with an error if it cannot be."""
    if os.geteuid() != 0:
        print("not root: in a user namespace", file=sys.stderr)
        os.execvp("unshare", ["unshare", "--user", "--map-root-user", sys.executable, "-m", module, *sys.argv[1:]])
    tried = subprocess.run(["unshare", "--net", "--uts", "--mount", "ip", "link", "add", "up", "type", "bridge"])
    if tried.returncode:
        sys.exit(
            "error: this machine allows no network namespaces; run it as root, or with CAP_NET_ADMIN and CAP_SYS_ADMIN"
        )


class Hosts:
    """To be used with `with`."""

    def __init__(self, names: Sequence[str]) -> None:
        self.names = tuple(names)
        self._holders: dict[str, subprocess.Popen[str]] = {}

    def __enter__(self) -> "Hosts":
        with tempfile.TemporaryDirectory(prefix="mglm-hosts-") as folder:
            table = Path(folder) / "hosts"
            lines = ["127.0.0.1 localhost", *(f"{self.address(name)} {name}" for name in self.names)]
            table.write_text("\n".join(lines) + "\n", "utf-8")
            try:
                self._hold("switch", table)
                self._in("switch", "ip", "link", "add", "bridge", "type", "bridge")
                self._in("switch", "ip", "link", "set", "bridge", "up")
                for name in self.names:
                    self._hold(name, table)
                    self._plug_in(name)
            except BaseException:
                self.__exit__(None, None, None)
                raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for name in reversed(self._holders):
            self.kill(name)
        for holder in self._holders.values():
            holder.kill()
            holder.wait()
            if holder.stdout is not None:
                holder.stdout.close()

    def address(self, name: str) -> str:
        return f"{NETWORK}.{self.names.index(name) + 1}"

    def command(self, name: str, words: Sequence[str]) -> list[str]:
        """What runs `words` on a host."""
        enter = [f"--{long}" for long in ("net", "uts", "mount")]
        return ["nsenter", "--target", str(self._holders[name].pid), *enter, "--wd=.", "--", *words]

    def start(
        self, name: str, words: Sequence[str], log: Path, environment: Mapping[str, str], directory: Path
    ) -> "subprocess.Popen[bytes]":
        """Starts a process on a host, its output appended to `log`, with no other environment than this."""
        with log.open("ab") as file:
            return subprocess.Popen(
                self.command(name, words), stdout=file, stderr=file, env=dict(environment), cwd=directory,
                start_new_session=True,
            )  # fmt: skip

    def processes(self, name: str) -> list[int]:
        """Every process on a host but the one that holds it open."""
        holder = self._holders[name].pid
        wanted = _space(holder)
        return [pid for pid in psutil.pids() if pid != holder and _space(pid) == wanted]

    def kill(self, name: str) -> None:
        """Every process on a host at once, without a word to them; again until none is left."""
        while pids := self.processes(name):
            for pid in pids:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue
            time.sleep(0.05)

    def _hold(self, name: str, table: Path) -> None:
        script = (
            f"hostname {name} && mount --bind {table} /etc/hosts && ip link set lo up && echo up && exec sleep infinity"
        )
        holder = subprocess.Popen(
            ["unshare", "--net", "--uts", "--mount", "sh", "-c", script],
            stdout=subprocess.PIPE,
            text=True,
            preexec_fn=end_with_parent,
        )
        self._holders[name] = holder
        assert holder.stdout is not None
        if holder.stdout.readline() != "up\n":
            raise RuntimeError(f"host {name} does not start")

    def _plug_in(self, name: str) -> None:
        port = self._port(name)
        inside = ["peer", "name", INTERFACE, "netns", str(self._holders[name].pid)]
        self._in("switch", "ip", "link", "add", port, "type", "veth", *inside)
        self._in("switch", "ip", "link", "set", port, "master", "bridge", "up")
        self._in(name, "ip", "address", "add", f"{self.address(name)}/24", "dev", INTERFACE)
        self._in(name, "ip", "link", "set", INTERFACE, "up")

    def _port(self, name: str) -> str:
        return f"port{self.names.index(name) + 1}"

    def _in(self, name: str, *words: str) -> None:
        subprocess.run(self.command(name, words), check=True)


def _space(pid: int) -> str:
    try:
        return str(Path(f"/proc/{pid}/ns/net").readlink())
    except OSError:
        return ""
