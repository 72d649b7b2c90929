"""Child processes that do not outlive the one that started them, however that one dies."""

import ctypes
import signal

_PR_SET_PDEATHSIG = 1  # <linux/prctl.h>
_LIBC = ctypes.CDLL(None)  # loaded here: between fork and exec nothing should be


def end_with_parent() -> None:
    """Has Linux send SIGTERM to this process when its parent dies. For a child's first act, or a `preexec_fn`."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, int(signal.SIGTERM))
