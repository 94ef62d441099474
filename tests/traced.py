"""`fedrec`, with a line for each round about what a run then holds.

`python -m tests.traced FILE train …` appends the number of each round and its digests to FILE.
"""

import json
import sys
from typing import Any

from fedrec.cli.main import main
from fedrec.training.simulation import Simulation
from tests.digests import digests

if __name__ == "__main__":
    path, *command = sys.argv[1:]
    play = Simulation.play

    def traced(self: Simulation) -> Any:
        evaluation = play(self)
        with open(path, "a") as file:
            file.write(f"{self.round} {json.dumps(digests(self))}\n")
        return evaluation

    Simulation.play = traced  # type: ignore[method-assign]
    raise SystemExit(main(command))
