"""How every process of ours gets into Ray."""

import logging
import signal
import threading
from typing import Any

import ray


def start_ray(**options: Any) -> None:
    """Start a private Ray, or join one, quietly; whoever handles SIGTERM goes on handling it.

    Ray puts a handler of its own in the place of the process's, and that one ends the process
    at once, without a checkpoint.

    Args:
        options: As for ``ray.init``.
    """
    handler = signal.getsignal(signal.SIGTERM)
    try:
        ray.init(
            log_to_driver=False, logging_level=logging.ERROR, configure_logging=False, **options
        )
    finally:
        if handler is not None and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, handler)
