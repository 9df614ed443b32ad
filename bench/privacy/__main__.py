"""The command: `python -m bench.privacy NAME`, from the root of the repository."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from bench.privacy import attacks, canaries, curve, rare

BENCHES = {
    "curve": curve.main,
    "attacks": attacks.main,
    "canaries": canaries.main,
    "rare": rare.main,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one of the benches; without its name the curve over epsilon."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    name = words.pop(0) if words and words[0] in BENCHES else "curve"
    return BENCHES[name](words)


if __name__ == "__main__":
    sys.exit(main())
