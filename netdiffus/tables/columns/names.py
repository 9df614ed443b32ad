"""Column names of the field's tools, and the channels that they mean."""

from __future__ import annotations

import re
from dataclasses import dataclass

from netdiffus.channels import KINDS

LABELS = (
    "label", "labels", "class", "class1", "classes", "app", "application", "application_name",
    "bf_label", "flow_metadata_bf_label", "category", "target", "traffic_type", "y",
)  # fmt: skip

PER_SECOND = {"s": 1.0, "ms": 1e3, "us": 1e6, "µs": 1e6, "ns": 1e9}


@dataclass(frozen=True)
class Meaning:
    """What a column of a known name holds.

    Attributes:
        channel: Our name of the channel.
        per_second: How many units of a time or gap are a second.
        zero_is_client: Whether direction 0 is from the client and 1 to it.
        padding: Number that fills the list where there is no packet.
        tool: Who writes such columns.
    """

    channel: str
    per_second: float = 1.0
    zero_is_client: bool = False
    padding: float | None = None
    tool: str = ""


# tcbench: pkts_dir is 0 for upload and 1 for download (https://tcbenchstack.github.io/tcbench).
# MIRAGE: packet_dir is 0 upstream and 1 downstream (https://traffic.comics.unina.it/mirage).
# nfstream: SPLT lists, -1 where there is no packet (https://www.nfstream.org/docs/api).
# ipfixprobe: plugin pstats (https://github.com/CESNET/ipfixprobe).
_KNOWN = {
    "pkts_size": Meaning("packet_length", tool="tcbench"),
    "pkts_dir": Meaning("direction", zero_is_client=True, tool="tcbench"),
    "timetofirst": Meaning("timestamp", tool="tcbench"),
    "pkts_unixtime": Meaning("timestamp", tool="tcbench"),
    "pkts_iat": Meaning("iat", tool="tcbench"),
    "splt_ps": Meaning("packet_length", padding=-1, tool="nfstream"),
    "splt_direction": Meaning("direction", zero_is_client=True, padding=-1, tool="nfstream"),
    "splt_piat_ms": Meaning("iat", 1e3, padding=-1, tool="nfstream"),
    "ppi_pkt_lengths": Meaning("packet_length", tool="ipfixprobe"),
    "ppi_pkt_times": Meaning("timestamp", tool="ipfixprobe"),
    "ppi_pkt_directions": Meaning("direction", tool="ipfixprobe"),
    "packet_data_l4_payload_bytes": Meaning("packet_length", tool="MIRAGE"),
    "packet_data_ip_packet_bytes": Meaning("packet_length", tool="MIRAGE"),
    "packet_data_packet_dir": Meaning("direction", zero_is_client=True, tool="MIRAGE"),
    "packet_data_iat": Meaning("iat", tool="MIRAGE"),
    "packet_data_timestamp": Meaning("timestamp", tool="MIRAGE"),
    "joy_b": Meaning("packet_length", tool="joy"),
    "joy_dir": Meaning("direction", zero_is_client=True, tool="joy"),
    "joy_ipt": Meaning("iat", 1e3, tool="joy"),
    # CESNET DataZoo: one column of three lists, times in ms between packets.
    "ppi_0": Meaning("iat", 1e3, padding=0, tool="CESNET PPI"),
    "ppi_1": Meaning("direction", padding=0, tool="CESNET PPI"),
    "ppi_2": Meaning("packet_length", padding=0, tool="CESNET PPI"),
}  # fmt: skip

# Tables with one row of numbers per flow: the columns that become channels of one point.
_FLOWS = {
    "nfstream flows": (
        "bidirectional_packets", "bidirectional_bytes", "bidirectional_duration_ms",
        "src2dst_packets", "src2dst_bytes", "dst2src_packets", "dst2src_bytes",
    ),
    "CICFlowMeter": (
        "flow duration", "flow_duration",
        "tot fwd pkts", "total fwd packet", "total fwd packets", "tot_fwd_pkts",
        "tot bwd pkts", "total bwd packets", "total backward packets", "tot_bwd_pkts",
        "totlen fwd pkts", "total length of fwd packet", "total length of fwd packets",
        "totlen_fwd_pkts", "fwd packets length total",
        "totlen bwd pkts", "total length of bwd packet", "total length of bwd packets",
        "totlen_bwd_pkts", "bwd packets length total",
    ),
    "NetFlow": (
        "td", "ipkt", "ibyt", "opkt", "obyt", "in_bytes", "in_pkts", "out_bytes", "out_pkts",
        "flow_duration_milliseconds",
    ),
}  # fmt: skip

# In tables of these tools: what the model learns with the class, under our names.
META = {
    "dst_port": "server_port", "dst port": "server_port", "destination port": "server_port",
    "dp": "server_port", "l4_dst_port": "server_port",
    "protocol": "protocol", "proto": "protocol", "pr": "protocol",
}  # fmt: skip


def meaning(name: str) -> Meaning | None:
    """What a column of this name holds; None for a name that is not known."""
    lower = name.strip().lower()
    if lower in KINDS:
        return Meaning(lower)
    known = _KNOWN.get(lower)
    if known is not None:
        return known
    timed = re.fullmatch(r"(timestamp|iat|gap)_(s|ms|us|µs|ns)", lower)
    return Meaning(timed[1], PER_SECOND[timed[2]]) if timed else None


def flow_table(names: list[str]) -> tuple[str, list[str]] | None:
    """The tool that writes flows with these columns, and its columns that become channels."""
    by_lower = {name.strip().lower(): name for name in names}
    for tool, columns in _FLOWS.items():
        found = [by_lower[column] for column in columns if column in by_lower]
        if len(found) >= 2 or (tool == "NetFlow" and {"ibyt", "in_bytes"} & set(by_lower)):
            return tool, found
    return None
