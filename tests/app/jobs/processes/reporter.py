"""A process that says what it is, in a line of JSON, and ends with the code it is told: `reporter CODE`."""

import json
import os
import sys
from pathlib import Path

if __name__ == "__main__":
    facts = {
        "arguments": sys.argv[1:],
        "sign": os.environ.get("SIGN"),
        "leads a session": os.getsid(0) == os.getpid(),
        "parent": os.getppid(),
        "threads": len(list(Path("/proc/self/task").iterdir())),
        "descriptors": len(list(Path("/proc/self/fd").iterdir())),
        "has imported": [name for name in ("torch", "trainers.training.train", "poplib") if name in sys.modules],
        "path": sys.path[0] == str(Path(__file__).parents[4]),
    }
    print(json.dumps(facts), flush=True)
    sys.exit(int(sys.argv[1]))
