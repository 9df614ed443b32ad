"""`netdiffus info`."""

from __future__ import annotations

import platform

from netdiffus import __version__
from netdiffus.cli.options import Json
from netdiffus.cli.output import show
from netdiffus.cli.packages import version_of


def info(as_json: Json = False) -> None:
    """Print versions, and which backends are available or why not."""
    import torch

    from netdiffus.ops import backends, isa

    packages = (
        "numpy",
        "pyarrow",
        "safetensors",
        "accelerate",
        "scikit-learn",
        "matplotlib",
        "opendp",
        "dp-accounting",
        "triton",
    )
    show(
        {
            "netdiffus": __version__,
            "python": platform.python_version(),
            "torch": torch.__version__,
            "threads": torch.get_num_threads(),
            "instruction set": isa(),
            "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else "none",
            "backends": backends(),
            "packages": {name: version_of(name) for name in packages},
        },
        as_json,
    )
