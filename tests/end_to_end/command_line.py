"""The command line, as a user runs it."""

import contextlib
import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

from studies.cli import main


@dataclass
class CommandLine:
    """Runs mpn in one home."""

    home: Path

    def start(self, *words, **options):
        return subprocess.Popen(
            [sys.executable, "-m", "studies", *map(str, words), "--home", str(self.home)],
            **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options},
            text=True,
            start_new_session=True,
        )

    def run(self, *words):
        """Run mpn in a process of its own, to its end."""
        process = self.start(*words)
        out, err = process.communicate(timeout=240)
        assert process.returncode == 0, f"{words}: exit {process.returncode}\n{out}\n{err}"
        return " ".join(err.split())

    def __call__(self, *words, code=0):
        """Run mpn in this process, which spares it the seconds that its imports take.

        Returns:
            What it printed; with an expected exit code, also what it printed as errors.
        """
        return self.without_home(*words, "--home", self.home, code=code)

    def without_home(self, *words, code=0):
        """Run a command that needs no home, in this process."""
        out, err = io.StringIO(), io.StringIO()
        got = 0
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                main([*map(str, words)])
            except SystemExit as end:
                got = end.code or 0
        assert got == code, f"{words}: exit {got}\n{out.getvalue()}\n{err.getvalue()}"
        return out.getvalue() + err.getvalue() if code else out.getvalue()

    def json(self, *words):
        return json.loads(self(*words))

    def records(self):
        """Checksum of every block's records."""
        found = self.home.glob("ledger/blocks/*/*/records.parquet")
        return {p.parent.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in found}

    def wait_for(self, pattern, process, timeout_s=120):
        """Wait until a file of that pattern is in the home, while the process runs."""
        end = time.monotonic() + timeout_s
        while time.monotonic() < end:
            found = self._files(pattern)
            if found:
                return found
            assert process.poll() is None, process.communicate()
            time.sleep(0.005)
        raise AssertionError(f"no {pattern} after {timeout_s} s")

    def freeze_at(self, pattern, process):
        """Stop a driver while a file of that pattern is in the home, however fast it works."""
        while True:
            self.wait_for(pattern, process)
            process.send_signal(signal.SIGSTOP)
            while psutil.Process(process.pid).status() != psutil.STATUS_STOPPED:
                assert process.poll() is None, process.communicate()
            if self._files(pattern):
                return
            process.send_signal(signal.SIGCONT)

    def _files(self, pattern):
        try:
            return sorted(self.home.glob(pattern))
        except FileNotFoundError:  # a folder went while pathlib looked into it
            return []


def kill_group(process):
    """SIGKILL a driver and everything that it started."""
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
