"""Which errors are the infrastructure's: tried again, where what the work raises is not."""

import errno
from typing import Literal

Fault = Literal["worker", "storage"]

_STORAGE = {
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EIO,
    errno.EROFS,
    errno.ESTALE,
    errno.ETIMEDOUT,
    errno.ECONNREFUSED,
    errno.ECONNRESET,
    errno.ECONNABORTED,
    errno.EHOSTUNREACH,
    errno.ENETUNREACH,
    errno.EPIPE,
}
_NETWORK = ("botocore", "aiobotocore", "aiohttp", "urllib3", "requests")
_DEVICE = ("CUDA error", "CUDA out of memory", "cuDNN error", "NCCL error", "device-side assert")
_DEVICE_TYPES = {"OutOfMemoryError", "AcceleratorError"}


def fault_of(error: BaseException) -> Fault | None:
    """Say whose an error is.

    Args:
        error: What was raised; what it was raised from counts too.

    Returns:
        ``storage``: a disk is full or a store cannot be reached, for whoever asks. ``worker``:
        the memory or the device of this process gave way, which a fresh process may not meet.
        None: the work itself raised it, and would again.
    """
    seen: BaseException | None = error
    while seen is not None:
        kind = type(seen)
        if isinstance(seen, TimeoutError | ConnectionError):
            return "storage"
        if isinstance(seen, OSError) and seen.errno in _STORAGE:
            return "storage"
        if kind.__module__.split(".")[0] in _NETWORK:
            return "storage"
        if isinstance(seen, MemoryError) or kind.__name__ in _DEVICE_TYPES:
            return "worker"
        if isinstance(seen, RuntimeError) and any(mark in str(seen) for mark in _DEVICE):
            return "worker"
        seen = seen.__cause__
    return None
