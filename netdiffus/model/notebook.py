"""Display of a model in a notebook: a table, and a small picture of its classes."""

from __future__ import annotations

from collections.abc import Iterable

from netdiffus.errors import shortened
from netdiffus.ledger import statement
from netdiffus.model.model import Model
from netdiffus.networks.build import parameters
from netdiffus.notebook import block, image, images, table

SHOWN = 20  # classes


def model_html(model: Model) -> str:
    """HTML in which nothing that comes from the model's folder is markup."""
    trained = f"{model.about['steps']:,} steps" if "steps" in model.about else "untrained"
    return block(
        f"Model: preset {model.preset}, {trained}",
        table(_facts(model)),
        images(lambda: [_classes(model)]),
    )


def _facts(model: Model) -> Iterable[tuple[str, str]]:
    yield "parameters", f"{parameters(model.network):,}"
    yield "classes", f"{len(model.classes):,}"
    yield "points", f"at most {model.codec.length}"
    yield "channels", ", ".join(channel.title for channel in model.codec.channels)
    yield "columns", ", ".join(model.columns.chosen) or "none"
    for key in ("traces", "minutes", "ended"):
        if key in model.about:
            yield key, str(model.about[key])
    yield "differential privacy", statement(model.ledger)


def _classes(model: Model) -> str:
    """Frequencies of the classes as bars."""
    from netdiffus.traces.plots import COLOURS, Picture, png, shown_classes, styled

    shown = shown_classes(model.classes, SHOWN)
    names = [shortened(model.classes[k]) for k in shown]
    with styled():
        figure = Picture((4.2, 0.19 * len(shown) + 0.6), layout="constrained")
        axis = figure.subplots()
        axis.barh(range(len(shown)), [100 * model.shares[k] for k in shown], color=COLOURS[0])
        axis.set_yticks(range(len(shown)), names)
        axis.invert_yaxis()
        axis.set_xlabel("% of the training traces")
        content = png(figure)
    return image(content, "png", "shares of the classes", figure.get_figwidth())
