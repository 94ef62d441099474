# Where the project's own files are, whatever the working directory is (`--directory`).

import os

from snakemake.sourcecache import LocalSourceFile

HERE = workflow.current_basedir


def of_project(path):
    """Return a file of the project.

    Another Snakefile may use the workflow as a module from another machine; then the file is
    downloaded.
    """
    file = HERE.join(f"../../{path}")
    if isinstance(file, LocalSourceFile):
        return os.path.relpath(file.get_path_or_uri(secret_free=False))
    return workflow.sourcecache.get_path(file)


def beside(path):
    """Return a file of the working directory, or else the project's own of that name."""
    return path if os.path.exists(path) else of_project(path)
