"""Options of `export` and `sample` that say how a capture is written."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

SizeOf = Annotated[Literal["ip", "wire", "payload"], typer.Option(help="What sizes are.")]
Version = Annotated[int, typer.Option(help="Of IP: 4 or 6.")]
Mtu = Annotated[int, typer.Option(help="Largest IP packet.")]
Protocol = Annotated[Literal["tcp", "udp"], typer.Option(help="Where traces do not say.")]
ServerPort = Annotated[int, typer.Option(help="Where traces do not say.")]
Resolution = Annotated[Literal["ns", "us"], typer.Option(help="Of times.")]
Small = Annotated[Literal["refuse", "raise"], typer.Option(help="Sizes below that of the headers.")]
Ports = Annotated[
    Literal["move", "keep"], typer.Option(help="Flows whose zeros are called malformed there.")
]

# A table has no use for them.
OF_CAPTURES = ("size", "ip", "mtu", "protocol", "server_port", "resolution", "small", "ports")
