"""A DNS forwarding proxy that shows everything it does."""

from __future__ import annotations

from importlib.machinery import EXTENSION_SUFFIXES, PathFinder

__version__ = "0.1.0"


def _is_compiled() -> bool:
    """Whether the hot modules are extensions; all of them are or none, so the lowest one tells."""
    spec = PathFinder.find_spec(f"{__name__}.wire", __path__)
    return spec is not None and str(spec.origin).endswith(tuple(EXTENSION_SUFFIXES))


COMPILED = _is_compiled()
