"""Real servers for tests, on 127.0.0.1 and a free port each, stopped when the tests end."""

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
import uuid
from dataclasses import dataclass
from pathlib import Path

import boto3
import pytest
from moto.server import ThreadedMotoServer

_PATIENCE_S = 180
PASSWORD, S3_SECRET = "corr3ct-h0rse", "b4ttery/st4ple"


class MissingServerError(Exception):
    """The machine does not have that server; says which package it is in."""


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


@dataclass(frozen=True)
class ObjectStore:
    """An S3 server with one bucket; processes find it by the environment alone."""

    url: str
    bucket: str = "everything"

    @property
    def environment(self):
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": "somebody",
            "AWS_SECRET_ACCESS_KEY": S3_SECRET,
            "AWS_DEFAULT_REGION": "us-east-1",
        }

    def fresh_uri(self):
        """A place that nobody has used."""
        return f"s3://{self.bucket}/{uuid.uuid4().hex}"


@contextlib.contextmanager
def object_store():
    """Run moto's S3 in a thread of this process; its lists have 20 keys a page."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MOTO_S3_DEFAULT_MAX_KEYS", "20")
        server.start()
        try:
            host, port = server.get_host_and_port()
            yield ObjectStore(f"http://{host}:{port}")
        finally:
            server.stop()


def make_bucket(store):
    client = boto3.client("s3")  # finds the server as everybody does
    try:
        client.create_bucket(Bucket=store.bucket)
    finally:
        client.close()


class Postgres:
    """A PostgreSQL server of Debian's packages, with a superuser who has a password."""

    def __init__(self, folder, programs):
        self._folder, self._programs = folder, programs
        self.port = free_port()
        self._as = ()
        if os.geteuid() == 0:  # which PostgreSQL refuses to run as
            self._as = ("runuser", "-u", "postgres", "--")
            shutil.chown(folder, "postgres")

    def make(self):
        password = self._folder / "password"
        password.write_text(PASSWORD)
        if self._as:
            shutil.chown(password, "postgres")
        self._run("initdb", "-D", self._data, "-U", "mpn", "-A", "scram-sha-256",
                  f"--pwfile={password}", "-E", "UTF8", "--no-sync")  # fmt: skip

    def start(self):
        settings = f"-p {self.port} -c listen_addresses=127.0.0.1 -c fsync=off "
        settings += f"-c unix_socket_directories={self._folder}"
        self._run("pg_ctl", "-D", self._data, "-l", self._folder / "log", "-o", settings,
                  "-w", "-t", str(_PATIENCE_S), "start")  # fmt: skip

    def stop(self):
        """Stop at once, as when the machine is switched off."""
        self._run("pg_ctl", "-D", self._data, "-m", "immediate", "-w", "stop")

    def uri(self, database, password=PASSWORD):
        return f"postgresql+psycopg://mpn:{password}@127.0.0.1:{self.port}/{database}"

    def fresh_uri(self):
        """A database that nobody has used."""
        database = f"d{uuid.uuid4().hex}"
        self.sql(f"create database {database}")
        return self.uri(database)

    def sql(self, statement):
        import psycopg

        where = f"host=127.0.0.1 port={self.port} user=mpn password={PASSWORD} dbname=postgres"
        with psycopg.connect(where, autocommit=True) as connection:
            connection.execute(statement)

    def dump(self, uri):
        """All that is in a database, as text."""
        where = uri.replace("postgresql+psycopg://", "postgresql://")
        command = [str(self._programs / "pg_dump"), "--inserts", where]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    @property
    def _data(self):
        return self._folder / "data"

    def _run(self, program, *words):
        command = [*self._as, str(self._programs / program), *map(str, words)]
        with (self._folder / "said").open("w") as said:  # no pipe: the server would inherit it
            run = subprocess.run(
                command, stdout=said, stderr=said, stdin=subprocess.DEVNULL, cwd="/", check=False
            )
        assert run.returncode == 0, (self._folder / "said").read_text()


@contextlib.contextmanager
def postgres():
    """Run PostgreSQL.

    Raises:
        MissingServerError: If this machine has none.
    """
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not found:
        raise MissingServerError("PostgreSQL is not installed: apt-get install postgresql")
    folder = Path(tempfile.mkdtemp(prefix="mpn-postgres-"))
    try:
        server = Postgres(folder, found[-1].parent)
        server.make()
        server.start()
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder)


class MlflowServer:
    """``mlflow server`` over a database, with its artifacts wherever it is told."""

    def __init__(self, database, artifacts, log):
        self.database, self.artifacts, self._log = database, artifacts, log
        self.port = free_port()
        self._process = None

    @property
    def uri(self):
        return f"http://127.0.0.1:{self.port}"

    def start(self):
        command = [
            sys.executable, "-m", "mlflow", "server",
            "--host", "127.0.0.1", "--port", str(self.port), "--workers", "1",
            "--artifacts-destination", self.artifacts,
        ]  # fmt: skip
        environment = {
            **os.environ,
            "MLFLOW_BACKEND_STORE_URI": self.database,
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
            "MLFLOW_DISABLE_TELEMETRY": "true",
        }
        with self._log.open("a") as log:
            self._process = subprocess.Popen(
                command, stdout=log, stderr=log, env=environment, start_new_session=True
            )
        end = time.monotonic() + _PATIENCE_S
        while not self._answers():
            assert self._process.poll() is None, self._log.read_text()
            assert time.monotonic() < end, self._log.read_text()
            time.sleep(0.2)

    def stop(self):
        if self._process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, 9)
        self._process.wait()
        self._process = None

    def _answers(self):
        with contextlib.suppress(OSError), urllib.request.urlopen(f"{self.uri}/health") as answer:
            return answer.status == 200
        return False


class Gateway:
    """Stands before a server on this machine; closed, it cuts what is open and refuses the rest."""

    def __init__(self, port):
        self._to = port
        self.port = free_port()
        self._listener = None
        self._ends = set()  # of the connections that are open

    def open(self):
        self._listener = socket.create_server(("127.0.0.1", self.port))
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def close(self):
        listener, self._listener = self._listener, None
        if listener is not None:
            listener.shutdown(socket.SHUT_RDWR)  # which ends accept()
            listener.close()
        for end in list(self._ends):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def _accept(self, listener):
        with contextlib.suppress(OSError):
            while True:
                here, _ = listener.accept()
                there = socket.create_connection(("127.0.0.1", self._to))
                threading.Thread(target=self._join, args=(here, there), daemon=True).start()

    def _join(self, here, there):
        self._ends |= {here, there}
        back = threading.Thread(target=self._pass_on, args=(there, here), daemon=True)
        back.start()
        self._pass_on(here, there)
        back.join()
        self._ends -= {here, there}
        here.close()
        there.close()

    def _pass_on(self, source, sink):
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
