"""Known vulnerabilities of pinned packages, from pip-audit; prints a message if it cannot run."""

import json
import shutil
import subprocess
import sys
from typing import Any

COMMAND = ["pip-audit", "--no-deps", "--disable-pip", "--progress-spinner=off", "--format=json"]


def asked(files: list[str]) -> str | None:
    """Return pip-audit's findings as JSON; None if it is not installed or has no network."""
    if shutil.which(COMMAND[0]) is None:
        return None
    options = [word for file in files for word in ("--requirement", file)]
    done = subprocess.run([*COMMAND, *options], capture_output=True, text=True)
    return done.stdout or None


def verdict(answer: str | None) -> tuple[str, int]:
    """Return a message and an exit code: 1 for vulnerabilities, 0 for none or no answer."""
    if answer is None:
        return "audit skipped: no pip-audit (pip install pip-audit), or no network", 0
    packages: list[dict[str, Any]] = json.loads(answer)["dependencies"]
    found = [
        f"{p['name']} {p['version']}: {v['id']}, fixed in {', '.join(v['fix_versions']) or 'none'}"
        for p in packages
        for v in p.get("vulns", ())
    ]
    unknown = sum("skip_reason" in p for p in packages)
    summary = f"audit: {len(found)} vulnerabilities in {len(packages) - unknown} packages"
    return "\n".join([*found, f"{summary}, {unknown} could not be looked up"]), bool(found)


if __name__ == "__main__":
    message, code = verdict(asked(sys.argv[1:]))
    print(message)
    sys.exit(code)
