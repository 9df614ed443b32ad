"""Pages from templates, all in one style; each is one file without references to others."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined

HERE = "netdiffus.evaluation.report"  # the package of the template that all others extend


def filled(package: str, name: str, filters: Mapping[str, Any], **values: Any) -> str:
    """The HTML text of the template `name` in `package`; `filters` write its values."""

    def text_of(asked: str) -> str:
        place = package if asked == name else HERE
        return files(place).joinpath(asked).read_text(encoding="utf-8")

    environment = Environment(
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        loader=FunctionLoader(text_of),
    )
    environment.filters |= filters
    return environment.get_template(name).render(**values)
