"""`python -m netdiffus` and `accelerate launch -m netdiffus`."""

from __future__ import annotations

from netdiffus.cli.main import main

if __name__ == "__main__":
    main()
