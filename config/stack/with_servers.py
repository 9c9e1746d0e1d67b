"""`python -m config.stack.with_servers COMMAND …`: run a command against new, empty servers that vanish with it."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from config.stack.paths import stack_paths
from config.stack.servers import embedded_servers


def main(command: list[str]) -> int:
    with tempfile.TemporaryDirectory(prefix="nt-") as folder:
        Path(folder).chmod(0o755)
        paths = stack_paths(folder)
        with embedded_servers(paths, durable=False):
            environment = {"LOCAL_STATE_DIR": folder, "DATABASE_URL": "", "REDIS_URL": "", "CELERY_BROKER_URL": ""}
            return subprocess.run(command, env=os.environ | environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
