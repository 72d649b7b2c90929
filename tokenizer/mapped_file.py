"""A file in memory without an open file handle.

pyarrow's and Python's own maps keep a handle for each mapped file, and a process may have 1,024 of those as a rule,
while the kernel maps 65,530 files. mmap(2) itself needs the handle only while it is called.
"""

import ctypes
import mmap
import os
import weakref
from pathlib import Path

import pyarrow as pa

_LIBC = ctypes.CDLL(None, use_errno=True)
_LIBC.mmap.restype = ctypes.c_void_p
_LIBC.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
_LIBC.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
_FAILED = ctypes.c_void_p(-1).value


class MappedFile:
    """Read-only map of a file that is not empty; it goes when nothing refers to it or its buffer any more.

    Raises:
        OSError: no such file, an empty one, or no more maps.
    """

    def __init__(self, path: Path) -> None:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            self.size = os.fstat(handle).st_size
            address = _LIBC.mmap(None, self.size, mmap.PROT_READ, mmap.MAP_SHARED, handle, 0)
            if address == _FAILED:
                raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), str(path))
        finally:
            os.close(handle)
        self.address: int = address
        # Not at the interpreter's exit: another thread may still be reading then, and the kernel cleans up anyway.
        weakref.finalize(self, _LIBC.munmap, address, self.size).atexit = False

    def buffer(self) -> pa.Buffer:
        """All of the file; whatever is cut from it keeps the map alive."""
        return pa.foreign_buffer(self.address, self.size, base=self)
