"""A PostgreSQL server of one's own, in a temporary folder, as an ordinary user; and a way to cut somebody off from it."""

import os
import pathlib
import shutil
import socket
import subprocess
import tempfile
import threading

import pytest

REQUIRED = "PILEUS_REQUIRE_POSTGRES"


def programs():
    """The folder of the newest server that is installed; None if there is none."""
    found = sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return found[-1].parent if found else None


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Postgres:
    """A running server. Skips the test where none is installed, unless PILEUS_REQUIRE_POSTGRES makes that a failure."""

    def __init__(self, *settings: str, room_mb=None):
        self.programs = programs()
        if self.programs is None:
            if os.environ.get(REQUIRED):
                pytest.fail("PostgreSQL is required and not installed: scripts/postgres.sh installs it")
            pytest.skip("PostgreSQL is not installed: scripts/postgres.sh installs it")
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="pileus-cluster-"))
        self.is_mounted = room_mb is not None
        if self.is_mounted:
            # A disk of its own, which can be full.
            subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={room_mb}m", "tmpfs", str(self.dir)], check=True)
        # The server refuses to run as root.
        self.user = "postgres" if os.getuid() == 0 else None
        self.port = free_port()
        self.give_away()
        self.run("initdb", "-D", str(self.data), "-U", "pileus", "-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync")
        lines = [
            "listen_addresses = '127.0.0.1'",
            f"port = {self.port}",
            f"unix_socket_directories = '{self.dir}'",
            "max_connections = 200",
            "shared_buffers = 128MB",
            *settings,
        ]
        (self.data / "postgresql.auto.conf").write_text("\n".join(lines) + "\n")
        self.give_away()
        self.up()

    @property
    def data(self) -> pathlib.Path:
        return self.dir / "data"

    def url(self, port=None, user="pileus", password=None, database="postgres") -> str:
        who = user if password is None else f"{user}:{password}"
        return f"postgres://{who}@127.0.0.1:{port or self.port}/{database}"

    def give_away(self):
        if self.user:
            subprocess.run(["chown", "-R", self.user, str(self.dir)], check=True)

    def run(self, program: str, *arguments: str):
        command = [str(self.programs / program), *arguments]
        if self.user:
            command = ["runuser", "-u", self.user, "--", *command]
        # Output to a file: a server that is started keeps the pipe of a waiting parent open.
        output = self.dir / "output"
        with open(output, "wb") as log:
            done = subprocess.run(command, cwd="/", stdout=log, stderr=log)
        assert done.returncode == 0, output.read_text()
        return output.read_text()

    def up(self):
        self.run("pg_ctl", "-D", str(self.data), "-w", "-t", "60", "-l", str(self.dir / "log"), "start")

    def down(self, mode="fast"):
        """`fast` ends what runs; `immediate` is as `kill -9` of every process of it."""
        self.run("pg_ctl", "-D", str(self.data), "-w", "-t", "60", "-m", mode, "stop")

    def sql(self, text: str) -> str:
        return self.run("psql", "-X", "-A", "-t", "-h", "127.0.0.1", "-p", str(self.port), "-U", "pileus", "-d", "postgres", "-c", text)

    def answers(self) -> bool:
        command = [str(self.programs / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        return subprocess.run(command).returncode == 0

    @staticmethod
    def fill(file):
        """Leaves no room on the disk that the file is on."""
        with open(file, "wb", buffering=0) as filler:
            try:
                while filler.write(bytes(1 << 16)):
                    pass
            except OSError:
                pass

    def stop(self):
        if (self.data / "postmaster.pid").exists() and self.answers():
            self.down("immediate")
        if self.is_mounted:
            subprocess.run(["umount", "-l", str(self.dir)], check=True)
        shutil.rmtree(self.dir, ignore_errors=True)


class Proxy:
    """A way to a server that can be blocked: what is sent waits (`stall`), or every connection is reset (`cut`)."""

    def __init__(self, target_port: int):
        self.target = ("127.0.0.1", target_port)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.open = threading.Event()
        self.open.set()
        self.is_cut = False
        self.pairs = set()
        self.lock = threading.Lock()
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.connect, args=(client,), daemon=True).start()

    def connect(self, client):
        self.open.wait()
        if self.is_cut:
            return client.close()
        try:
            server = socket.create_connection(self.target, timeout=5)
            server.settimeout(None)
        except OSError:
            return client.close()
        pair = (client, server)
        for end in pair:
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with self.lock:
            self.pairs.add(pair)
        for source, sink in (pair, pair[::-1]):
            threading.Thread(target=self.pump, args=(source, sink, pair), daemon=True).start()

    def pump(self, source, sink, pair):
        try:
            while data := source.recv(1 << 16):
                self.open.wait()
                sink.sendall(data)
        except OSError:
            pass
        self.close(pair)

    def close(self, pair):
        with self.lock:
            self.pairs.discard(pair)
        for end in pair:
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            end.close()

    def stall(self):
        """Connections stay, and nothing comes through: a cable was pulled."""
        self.open.clear()

    def cut(self):
        """Connections are reset, and new ones are too."""
        self.is_cut = True
        self.open.set()
        with self.lock:
            pairs = list(self.pairs)
        for pair in pairs:
            self.close(pair)

    def mend(self):
        self.is_cut = False
        self.open.set()

    def stop(self):
        self.listener.close()
        self.cut()
