"""franz-go, the Go client: builds main.go and calls it once a case."""

import os
import subprocess
import sys
from pathlib import Path

here = Path(__file__).parent
sys.path.append(str(here.parent))
from harness import BOOTSTRAP, RUN, case, command, main  # noqa: E402

cache = os.environ.get("WATERSHED_SERVICES_CACHE", Path.home() / ".cache" / "watershed-services")
program = Path(cache) / "clients-franz-go" / "franz-go"
subprocess.run(["go", "build", "-o", program, "."], cwd=here, check=True)
for name in sorted(command(program, quiet=True).split()):
    function = lambda name=name: command(program, BOOTSTRAP, RUN, name)  # noqa: E731
    function.__name__ = name
    case(function)

main("franz-go")
