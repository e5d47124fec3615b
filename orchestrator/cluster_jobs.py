"""Ray Jobs: a command that runs on the head of a cluster, watched from elsewhere."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import aiohttp
import requests
from ray.exceptions import RayError
from ray.job_submission import JobSubmissionClient

from orchestrator.errors import InputError, Problem

_AGAIN_S = 2.0
_MOST_SILENT = 150  # times in a row
_STOP_WAIT_S = 60
_TALKATIVE = (  # of uploads and connections, among what the job itself says
    "ray.dashboard.modules.dashboard_sdk",
    "ray.dashboard.modules.job.sdk",
    "ray._private.runtime_env.packaging",
)
_AUTHENTICATION = (
    "the cluster wants a token: set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN (or RAY_AUTH_TOKEN_PATH)"
)


@dataclass(frozen=True)
class JobEnd:
    """How a job ended.

    Attributes:
        status: ``SUCCEEDED``, ``FAILED`` or ``STOPPED``.
        exit_code: That of its command; None if it never ran, or was stopped.
        message: What Ray says of it.
    """

    status: str
    exit_code: int | None
    message: str


class ClusterJobs:
    """The jobs of one cluster.

    Every method raises InputError if the cluster does not answer, wants another token, or has no
    such job.
    """

    def __init__(self, address: str) -> None:
        """Connect to a dashboard.

        Args:
            address: ``http://HOST:8265``.

        Raises:
            InputError: If it is of another kind, or no dashboard answers there.
        """
        self._address = address
        for name in _TALKATIVE:
            logging.getLogger(name).setLevel(logging.WARNING)
        if not address.startswith(("http://", "https://")):
            self._refuse(f"{address!r} is not the address of a dashboard", _dashboards())
        try:
            self._client = JobSubmissionClient(address)
        except (OSError, RuntimeError, ValueError, RayError, requests.RequestException) as error:
            self._explain(error)

    def submit(
        self, command: str, job_id: str, *, folder: Path, environment: Mapping[str, str]
    ) -> None:
        """Start a command on the head, in a copy of a folder.

        Args:
            command: For a shell.
            job_id: A name that no job of the cluster has had.
            folder: Sent along; the command's working directory.
            environment: Variables for the command and for the actors that it starts. Whoever can
                ask the dashboard for the job can read them.
        """
        variables = {"RAY_JOB_STOP_WAIT_TIME_S": str(_STOP_WAIT_S), **environment}
        try:
            self._client.submit_job(
                entrypoint=command,
                submission_id=job_id,
                runtime_env={"working_dir": str(folder), "env_vars": variables},
            )
        except (OSError, RuntimeError, RayError, requests.RequestException) as error:
            self._explain(error)

    def follow(self, job_id: str, write: Callable[[str], None]) -> JobEnd:
        """Write what the job writes until it ends, through losses of the connection.

        The cluster may be out of reach for five minutes at a time.

        Args:
            job_id: The job.
            write: Called with pieces of its output, each once.
        """
        self.end(job_id)  # refuses a job that there is not
        once, n_silent = _Once(write), 0
        while True:
            # A lost connection is not the end of the job; that is asked for next.
            with contextlib.suppress(OSError, RuntimeError, aiohttp.ClientError):
                asyncio.run(self._tail(job_id, once))
            try:
                end, n_silent = self.end(job_id), 0
            except InputError:
                end, n_silent = None, n_silent + 1
                if n_silent == _MOST_SILENT:
                    raise
            if end is not None:
                return end
            time.sleep(_AGAIN_S)

    def end(self, job_id: str) -> JobEnd | None:
        """Return how a job ended, or None while it has not."""
        try:
            found = self._client.get_job_info(job_id)
        except (OSError, RuntimeError, RayError, requests.RequestException) as error:
            self._explain(error, job_id)
        if not found.status.is_terminal():
            return None
        return JobEnd(found.status.value, found.driver_exit_code, found.message or "")

    def logs(self, job_id: str) -> str:
        """Return all that a job has written."""
        try:
            return str(self._client.get_job_logs(job_id))
        except (OSError, RuntimeError, RayError, requests.RequestException) as error:
            self._explain(error, job_id)

    def stop(self, job_id: str) -> bool:
        """Send a job SIGTERM, and SIGKILL a minute later; False if it had ended already."""
        try:
            return bool(self._client.stop_job(job_id))
        except (OSError, RuntimeError, RayError, requests.RequestException) as error:
            self._explain(error, job_id)

    async def _tail(self, job_id: str, once: "_Once") -> None:
        once.begin()
        async for piece in self._client.tail_job_logs(job_id):
            once.take(piece)

    def _explain(self, error: Exception, job_id: str = "") -> NoReturn:
        text = str(error).strip()
        if type(error).__name__ == "AuthenticationError":
            self._refuse(f"{self._address!r} does not let us in", _AUTHENTICATION, error)
        if job_id and "404" in text:
            self._refuse(f"no job {job_id!r} at {self._address}", "see the dashboard", error)
        reason = text.splitlines()[0] if text else type(error).__name__
        self._refuse(f"{self._address!r} does not answer ({reason})", _dashboards(), error)

    def _refuse(self, found: str, wanted: str, error: Exception | None = None) -> NoReturn:
        problem = Problem("--address", None, found, wanted)
        raise InputError("the command", [problem], "Nothing was done.") from error


class _Once:
    """Writes a text that comes in pieces, from its beginning again after each interruption."""

    def __init__(self, write: Callable[[str], None]) -> None:
        self._write = write
        self._seen = self._written = 0

    def begin(self) -> None:
        self._seen = 0

    def take(self, piece: str) -> None:
        self._seen += len(piece)
        n_new = self._seen - self._written
        if n_new > 0:
            self._write(piece[-n_new:])
            self._written = self._seen


def _dashboards() -> str:
    return (
        "give that of a Ray dashboard: http://HEAD:8265, or http://127.0.0.1:8265 with the port "
        "forwarded"
    )
