"""The recipes that come with the tool, by name."""

from __future__ import annotations

from pathlib import Path

from edgewright.optimize.errors import SpecError

__all__ = ["recipe_path", "shipped_recipes"]

_HERE = Path(__file__).parent / "recipes"


def shipped_recipes() -> tuple[str, ...]:
    """Their names."""
    return tuple(sorted(path.stem for path in _HERE.glob("*.toml")))


def recipe_path(name: str) -> Path:
    """The file that ``--recipe`` means: a path, or the name of a recipe that comes with the tool.

    A file of that name wins.

    Raises:
        SpecError: There is neither.
    """
    path = Path(name).expanduser()
    if path.exists() or path.suffix or len(path.parts) > 1:
        return path
    if name in shipped_recipes():
        return _HERE / f"{name}.toml"
    msg = f"there is no recipe {name!r}: name a .toml file, or one that comes with the tool: {', '.join(shipped_recipes())}"
    raise SpecError(msg)
