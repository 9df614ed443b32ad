"""Which packages are installed."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

from netdiffus.errors import InputError


def version_of(name: str) -> str:
    """The version of an installed package, or `missing`."""
    try:
        return version(name)
    except PackageNotFoundError:
        return "missing"


def need_eval() -> None:
    """Refuses to go on without the packages that evaluation needs."""
    for name in ("scikit-learn", "scipy", "jinja2", "matplotlib"):
        if version_of(name) == "missing":
            raise InputError(f"{name} is not installed; run: pip install 'netdiffus[eval]'")
