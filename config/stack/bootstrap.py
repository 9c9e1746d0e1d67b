"""Makes `.venv` what a requirements file says. Plain Python, standard library only: it runs before anything is installed.

    python3 config/stack/bootstrap.py local|test

Does nothing, in a few milliseconds, when the file is the one that was installed last.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

PROJECT_DIR = Path(__file__).resolve().parent.parent.parent
OLDEST_PYTHON = (3, 11)
_NEWER_PYTHONS = tuple(f"python3.{minor}" for minor in range(20, OLDEST_PYTHON[1] - 1, -1))


class Bootstrap:
    """One project's virtual environment."""

    def __init__(self, project: Path) -> None:
        self.requirements = project / "requirements"
        self.venv = project / ".venv"
        self.python = self.venv / "bin" / "python"
        self._installed = self.venv / ".installed"
        self._unfinished = self.venv / ".unfinished"

    def ensure(self, wanted: str) -> None:
        """Install `requirements/<wanted>.txt`, unless it is installed; `test` includes `local`. Raises CalledProcessError."""
        if self._is_current(wanted):
            return
        with (self.requirements / "uv.txt").open() as turn:
            fcntl.flock(turn, fcntl.LOCK_EX)  # a second make waits here for the first
            if not self._is_current(wanted):
                # Whoever has the test tools keeps them.
                self._install("test" if self._record().startswith("test ") else wanted)

    def _is_current(self, wanted: str) -> bool:
        return self.python.exists() and self._record() in {self._digest(name) for name in {wanted, "test"}}

    def _record(self) -> str:
        return self._installed.read_text() if self._installed.exists() else ""

    def _digest(self, name: str) -> str:
        content = b"".join((self.requirements / f"{part}.txt").read_bytes() for part in ("uv", name))
        return f"{name} {hashlib.sha256(content).hexdigest()}"

    def _install(self, name: str) -> None:
        lock = self.requirements / f"{name}.txt"
        print(f"installing {lock.relative_to(lock.parent.parent)} into {self.venv} (once)", flush=True)
        if self._unfinished.exists() or not self._works():
            _check_ensurepip()
            shutil.rmtree(self.venv, ignore_errors=True)
            _run(sys.executable, "-m", "venv", str(self.venv))
        self._installed.unlink(missing_ok=True)
        self._unfinished.touch()
        if not self._sync(lock):
            print("uv cannot install here; going on with pip, which is slower", flush=True)
            _run(*self._pip_install(lock))
        self._installed.write_text(self._digest(name))
        self._unfinished.unlink()

    def _works(self) -> bool:
        return self.python.exists() and _succeeds(str(self.python), "-m", "pip", "--version")

    def _sync(self, lock: Path) -> bool:
        """Install exactly what the lock file names, with uv; it trusts the certificates that the system trusts, as pip does."""
        uv = (str(self.python), "-m", "uv", "pip", "sync", "--quiet", "--system-certs", "--require-hashes")
        return self._has_uv() and _succeeds(*uv, "--python", str(self.python), str(lock))

    def _has_uv(self) -> bool:
        uv = self.requirements / "uv.txt"
        return _succeeds(*self._pip_install(uv)) and _succeeds(str(self.python), "-m", "uv", "--version")

    def _pip_install(self, lock: Path) -> tuple[str, ...]:
        options = ("--quiet", "--disable-pip-version-check", "--require-hashes")
        return (str(self.python), "-m", "pip", "install", *options, "-r", str(lock))


def _run(*command: str) -> None:
    subprocess.run(command, check=True, env=_environment())


def _succeeds(*command: str) -> bool:
    return subprocess.run(command, check=False, capture_output=True, env=_environment()).returncode == 0


def _environment() -> dict[str, str]:
    """Without the virtual environment that may be active in the caller's shell: it is not the one meant."""
    return {name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"}


def _check_ensurepip() -> None:
    if not _succeeds(sys.executable, "-c", "import ensurepip"):
        sys.exit(f"{sys.executable} cannot make virtual environments (on Debian: apt install python3-venv)")


def _newer_python() -> str | None:
    return next(filter(None, map(shutil.which, _NEWER_PYTHONS)), None)


def main(wanted: str) -> None:
    if sys.version_info < OLDEST_PYTHON:
        newer = _newer_python()
        if newer is None:
            sys.exit(f"Python {'.'.join(map(str, OLDEST_PYTHON))} or later is needed; this is {sys.version.split()[0]}")
        os.execv(newer, [newer, *sys.argv])  # noqa: S606
    try:
        Bootstrap(PROJECT_DIR).ensure(wanted)
    except subprocess.CalledProcessError as error:
        sys.exit(f"installation failed: {' '.join(error.cmd[:6])} … ended with exit code {error.returncode}")
    except KeyboardInterrupt:
        sys.exit("installation interrupted; the next start does it again")


if __name__ == "__main__":
    main(sys.argv[1])
