"""Commands that start in a fork of a process that has imported the libraries already.

Most of a short command's time goes into importing PyTorch, pandas and Snakemake. `Warm` puts
`fedrec`, `python` and `snakemake` in a folder for PATH. Each of them sends its arguments, folder,
environment and open files to the warm process, which forks. The project's own modules are imported
after the fork, from the PYTHONPATH of the command, so each command sees the files as they are.
"""

import atexit
import gc
import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable
from functools import partial
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType, TracebackType

LIBRARIES = (
    "jaxtyping", "jinja2", "matplotlib.figure", "numba", "numpy", "pandas", "pydantic", "requests",
    "scipy.stats", "sklearn.cluster", "snakemake.cli", "torch", "tqdm", "yaml",
)  # fmt: skip
COMMANDS = ("fedrec", "python", "snakemake")
PYTHON = sys.executable
CLIENT = """#!{python} -IS
import json, os, socket, sys
with socket.socket(socket.AF_UNIX) as warm:
    warm.connect({address!r})
    command = [{name!r}, sys.argv[1:], os.getcwd(), dict(os.environ)]
    socket.send_fds(warm, [b"."], [0, 1, 2])
    warm.sendall(json.dumps(command).encode() + b"\\n")
    sys.exit(int(warm.makefile().readline() or 1))
"""


class Warm:
    """A warm process, and the folder with the commands that it runs."""

    def __init__(self, folder: Path) -> None:
        self.folder, address = folder, folder / "socket"
        for name in COMMANDS:
            command = folder / name
            text = CLIENT.format(python=sys.executable, address=str(address), name=name)
            command.write_text(text)
            command.chmod(0o755)
        server = [sys.executable, __file__, str(address)]
        self._process = subprocess.Popen(server, stdout=subprocess.PIPE)
        assert self._process.stdout
        self._process.stdout.readline()  # it listens

    def __enter__(self) -> "Warm":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.kill()
        self._process.wait()
        assert self._process.stdout
        self._process.stdout.close()


def serve(address: str) -> None:
    """Import the libraries, and fork for each command."""
    for name in LIBRARIES:
        import_module(name)
    gc.freeze()  # or each fork would copy what the collector touches
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the forks
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(address)
        listener.listen()
        print("listening", flush=True)
        while True:
            client, _ = listener.accept()
            if os.fork() == 0:
                listener.close()
                return answer(client)
            client.close()


def answer(client: socket.socket) -> None:
    """Run one command in a second fork, which ends as a process of its own, and send its code."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    _, files, _, _ = socket.recv_fds(client, 1, 3)
    name, arguments, folder, environment = json.loads(client.makefile().readline())
    child = os.fork()
    if child == 0:
        client.close()
        for number, file in enumerate(files):
            os.dup2(file, number)
            os.close(file)
        start(name, arguments, folder, environment)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    client.sendall(f"{code if code >= 0 else 128 - code}\n".encode())
    os._exit(0)


def start(name: str, arguments: list[str], folder: str, environment: dict[str, str]) -> None:
    """Become a command: what its console script does, in its folder and environment."""
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.path[:1] = filter(None, environment.get("PYTHONPATH", "").split(os.pathsep))
    sys.executable = str(Path(sys.argv[1]).with_name("python"))  # what it starts is warm, too
    sys.argv = [name, *arguments]
    leave(script(name, arguments))


def script(name: str, arguments: list[str]) -> Callable[[], object]:
    """Return the function that a command calls."""
    if name != "python":
        (found,) = entry_points(group="console_scripts", name=name)
        return found.load()
    sys.modules["__main__"] = ModuleType("__main__")
    match arguments:
        case ["-m", module, *others]:
            sys.argv = [module, *others]
            return partial(runpy.run_module, module, run_name="__main__", alter_sys=True)
        case ["-c", code, *others]:
            sys.argv = ["-c", *others]
            return partial(exec, code, vars(sys.modules["__main__"]))
    os.execv(PYTHON, [PYTHON, *arguments])


def leave(main: Callable[[], object]) -> None:
    """Run a script and end the process, without a second for taking all modules down."""
    code: object = 1
    try:
        code = main()
    except SystemExit as end:
        code = end.code
    except BaseException:
        traceback.print_exc()
    if isinstance(code, str):
        print(code, file=sys.stderr)
        code = 1
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(code if isinstance(code, int) else 0)


if __name__ == "__main__":
    serve(sys.argv[1])
