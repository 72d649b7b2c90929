"""Child processes that do not outlive the one that started them, and what a process and its children hold."""

import ctypes
import signal

_PR_SET_PDEATHSIG = 1  # <linux/prctl.h>
_LIBC = ctypes.CDLL(None)  # loaded here: between fork and exec nothing should be


def end_with_parent() -> None:
    """Has Linux send SIGTERM to this process when its parent dies. For a child's first act, or a `preexec_fn`."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, int(signal.SIGTERM))


def tree_bytes(pid: int) -> int:
    """Memory of a process and its descendants: proportional set size, so that a shared page counts once."""
    import psutil  # comes with the extras

    total = 0
    try:
        root = psutil.Process(pid)
        processes = [root, *root.children(recursive=True)]
    except psutil.Error:
        return 0
    for process in processes:
        try:
            total += process.memory_full_info().pss
        except psutil.Error:  # it ended while we looked
            continue
    return total
