"""`make reset`: forget everything a local run keeps, keys included."""

from __future__ import annotations

import shutil
import sys

from config.environment import KNOWN
from config.sources import gather
from config.stack.leftovers import end_leftovers
from config.stack.running import AlreadyRunningError, RunningFile


def main() -> None:
    _, stack = gather(KNOWN)
    try:
        running = RunningFile(stack)
    except AlreadyRunningError as error:
        sys.exit(str(error))
    end_leftovers(stack)
    for folder in (stack.sockets, stack.servers, stack.state):
        shutil.rmtree(folder, ignore_errors=True)
    running.release()
    print(f"removed {stack.state}")


if __name__ == "__main__":
    main()
