"""`python -m tests [pytest's arguments]`: the whole suite. First what runs side by side, then what starts the real processes.

Those need the cores for themselves; the rest uses as many as there are, a file at a time.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from typing import Final

NOTHING_COLLECTED: Final = 5
"""pytest's exit code; of no concern while the other part has found something."""
PARTS: Final = (
    ("-m", "not acceptance", "-n", "auto", "--maxprocesses=8", "--dist=loadfile"),
    ("-m", "acceptance"),
)


def main(arguments: Sequence[str]) -> int:
    codes = []
    for place, part in enumerate(PARTS):
        print(f"-- tests, part {place + 1} of {len(PARTS)}: pytest {' '.join(part)}", flush=True)
        # One report for both.
        more = ["--cov-append"] if place and any(argument.startswith("--cov") for argument in arguments) else []
        codes.append(subprocess.run([sys.executable, "-m", "pytest", *part, *arguments, *more], check=False).returncode)
        if codes[-1] < 0 or codes[-1] == 2:  # ended by a signal, or interrupted
            return 2
    if NOTHING_COLLECTED in codes and 0 in codes:
        print("-- all that was asked for is in the other part")
    failed = [code for code in codes if code not in {0, NOTHING_COLLECTED}]
    return failed[0] if failed else min(codes)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
