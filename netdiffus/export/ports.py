"""The transport and server port of each trace that is written: those of its meta, or free ones."""

from __future__ import annotations

import re

import numpy as np
import pyarrow as pa

from netdiffus.errors import InputError
from netdiffus.protocols import NUMBERS, TCP, UDP
from netdiffus.traces.traces import Bools, Ints, Traces

TRANSPORTS = ("tcp", "udp")

# Where tshark 4.0 or tcpdump 4.99 find fault with zeros. Found by writing zeros of many sizes, in
# order and at random, to every port.
_DISSECTED = {
    TCP: """22 37 42 49 53 88 123 161-162 199 210 323 389 473 513 524 547-548 639 862 873 925
    988 1102 1153 1194 1521 1723 1998 2049 2234 2240 2269 2321-2322 2502 2571 2812 2944
    3002-3003 3006 3014 3016-3019 3268 3306 3357 3369 3632 3724 3863 4058 4222-4224 4249-4250 4321
    4551 4555-4556 4880 5000 5010 5094 5353 5445 5534 5555 5997 6000-6063 6160 6379 6633 6653
    6666 7000 7171-7172 7871 7911 8023 8085 8567 9092 9300 9600 9956 13400 14001 24800 29418
    34980 48049 48898""",
    UDP: """37 49 53 67-69 88 123 137-138 173 177 213 269 319-320 427 434 464 473 496 500
    513-514 520-521 524-525 546-547 654 664 698 701 750 854 910 921 925 1001 1052 1113 1153 1194
    1293 1589 1628-1629 1645-1646 1700-1701 1718-1719 1745 1755 1812-1813 1985 2048-2049 2055
    2103-2104 2157 2222 2246 2269 2313 2345 2428 2887 2944-2945 2948 3000 3130 3250 3343 3357
    3389 3452 3455 3544 3671 3784 3799 3804 3863 4000 4058 4306-4307 4341-4342 4500 4533-4534
    4551 4555 4567 4569 4729 4739 4754 4784 4789-4791 4991 5000-5001 5031 5072 5094 5246-5247
    5350-5351 5353 5355 5359 5436 5678 5683 6073 6081 6118 6160 6277 6343 6635 6696-6697 6784
    6970 7000-7009 7074 7275 7500 7784 8200 8211 8231 8472 8500 8600 8755 8767 8805 8848
    9200-9201 9214 9600 9875 9877 9899 9901 9956 9996 10253 10500 11273 12000-12004 12220
    12222-12223 13400 14390-14399 17220 17754-17756 18246 19132 19999 23272 24576-24577 25826
    26000 27500 27910 27950-27953 27960-27963 30490 32000 32512 34962-34964 34980 37008 41170
    44818 47000 49152 54328""",
}
# The fields before the data of SSH, and the shortest messages of DHCP, NTP and IKE, the latter also
# behind its marker: zeros of that many bytes raise no complaint. RFC 4253, 1542, 5905, 7296, 3948.
_ENOUGH = {TCP: {22: 5}, UDP: {67: 300, 68: 300, 123: 48, 500: 28, 4500: 32}}
NEVER = 2**62

FREE = 50000 + np.arange(65536) % 10000
FREE[54328] = 50000  # the one such port that would stay where it is


def watched_ports(protocol: int) -> Ints:
    """Ports on which programs look for a message that zeros of some size are not.

    Args:
        protocol: 6 for TCP or 17 for UDP.
    """
    runs = [[int(end) for end in run.split("-")] for run in _DISSECTED[protocol].split()]
    return np.concatenate([np.arange(run[0], run[-1] + 1) for run in runs])


def free_ports(ports: Ints, is_tcp: Bools, shortest: Ints) -> Ints:
    """The ports, but free ones for flows whose zeros would be called malformed.

    A free one is 50000 plus the last four digits of the port that it stands for.

    Args:
        ports: int64 (N,), server ports of flows.
        is_tcp: bool (N,); the others are UDP.
        shortest: int64 (N,), bytes of each flow's shortest payload that a program is given; at
            least `NEVER` if it is given none.
    """
    needed = np.where(is_tcp, _needed(TCP)[ports], _needed(UDP)[ports])
    return np.where(shortest < needed, FREE[ports], ports)


def protocols(traces: Traces, default: str) -> Ints:
    """int64 (N,): the IP protocol of each trace, from its meta `protocol` or else the default.

    Raises:
        InputError: The default is neither tcp nor udp, or a cell is no protocol.
    """
    if default not in TRANSPORTS:
        raise InputError(f"protocol must be one of {', '.join(TRANSPORTS)}, got {default!r}")
    cells = _cells(traces, "protocol")
    found = [NUMBERS.get(one, _number(one, 255)) for one in (cell or default for cell in cells)]
    if None in found:
        raise _refused(
            traces,
            "protocol",
            found.index(None),
            f"not {', '.join(NUMBERS)} or a number in 0..255; leave the cell empty for "
            "protocol= (--protocol), or leave out the trace",
        )
    return np.array(found, dtype=np.int64)


def server_ports(traces: Traces, default: int) -> Ints:
    """int64 (N,): the server port of each trace, from its meta `server_port` or else the default.

    0, which is nobody's port and stands for that of protocols without ports, counts as none.

    Raises:
        InputError: The default or a cell is no port.
    """
    if default not in range(1, 65536):
        raise InputError(f"server_port must be a number in 1..65535, got {default!r}")
    cells = _cells(traces, "server_port")
    found = [0 if cell is None else _number(cell, 65535) for cell in cells]
    if None in found:
        raise _refused(
            traces,
            "server_port",
            found.index(None),
            "not a port number in 1..65535; leave the cell empty for server_port= (--server-port)",
        )
    ports = np.array(found, dtype=np.int64)
    return np.where(ports == 0, default, ports)


def _needed(protocol: int) -> Ints:
    """int64 (65536,): bytes from which zeros on a port raise no complaint."""
    needed = np.zeros(65536, np.int64)
    needed[watched_ports(protocol)] = NEVER
    for port, enough in _ENOUGH[protocol].items():
        needed[port] = enough
    return needed


def _cells(traces: Traces, name: str) -> list[str | None]:
    """A meta column as text in lower case, None where it says nothing."""
    if name not in traces.meta.column_names:
        return [None] * len(traces)
    return [_text(cell) for cell in traces.meta[name].to_pylist()]


def _text(cell: object) -> str | None:
    if cell is None or cell != cell:  # pandas makes of an empty cell a NaN
        return None
    whole = isinstance(cell, float) and cell.is_integer()
    return f"{cell:.0f}" if whole else str(cell).strip().lower() or None


def _number(text: str, most: int) -> int | None:
    return int(text) if re.fullmatch("[0-9]{1,5}", text) and int(text) <= most else None


def _refused(traces: Traces, name: str, row: int, what: str) -> InputError:
    cell: pa.Scalar = traces.meta[name][row]
    return InputError(f"trace {row}: meta {name!r} is {cell.as_py()!r}, {what}")
