"""Pages that are generated from the code: methods, configuration, errors, published tables."""

from pathlib import Path

import _configuration
import _errors
import _methods
import _published


def write(folder: Path) -> None:
    """Write every page anew, but touch none that would stay the same."""
    pages = {
        **_methods.pages(),
        **_configuration.pages(),
        **_errors.pages(),
        **_published.pages(),
    }
    for path in sorted(folder.rglob("*.md")) if folder.exists() else []:
        if str(path.relative_to(folder)) not in pages:
            path.unlink()
    for name, text in pages.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
