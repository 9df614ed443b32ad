"""Options of `export` and `sample` that say how a capture is written."""

from __future__ import annotations

from typing import Annotated

import typer

SizeOf = Annotated[str, typer.Option(help="What sizes are: ip, wire or payload.")]
Version = Annotated[int, typer.Option(help="Of IP: 4 or 6.")]
Mtu = Annotated[int, typer.Option(help="Largest IP packet.")]
Protocol = Annotated[str, typer.Option(help="tcp or udp, where traces do not say.")]
ServerPort = Annotated[int, typer.Option(help="Where traces do not say.")]
Resolution = Annotated[str, typer.Option(help="Of times: ns or us.")]
Small = Annotated[str, typer.Option(help="Sizes below that of the headers: refuse, or raise.")]
Ports = Annotated[
    str, typer.Option(help="Flows whose zeros are called malformed there: move, or keep.")
]

# A table has no use for them.
OF_CAPTURES = ("size", "ip", "mtu", "protocol", "server_port", "resolution", "small", "ports")
