"""Column names of the field's tools, and the channels that they mean."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass, replace

from netdiffus.channels import KINDS

LABELS = (
    "label", "labels", "class", "class1", "classes", "app", "application", "application_name",
    "bf_label", "flow_metadata_bf_label", "category", "target", "traffic_type", "y",
)  # fmt: skip
# Taken for the class where there is no column of the names above.
LESS_USUAL_LABELS = (
    "attack_cat", "attack_category", "attack_type", "attack", "app_name", "appname", "website",
    "web_site", "site", "traffic_class", "class_name", "label_name", "service_name",
    "l7_proto_name", "app_proto", "protocolname", "malware_family", "family",
)  # fmt: skip
# Where there is none of those, either, and no class by folder.
RARE_LABELS = (
    "ground_truth", "y_true", "true_label", "class_label", "app_label", "traffic_label",
    "traffic_category", "activity", "device", "device_type",
)  # fmt: skip

PER_SECOND = {"s": 1.0, "ms": 1e3, "us": 1e6, "µs": 1e6, "ns": 1e9}
# Units as they are written in names: time_msec, iat (µs), packetLength [B].
_UNITS = {
    **PER_SECOND, "sec": 1.0, "secs": 1.0, "second": 1.0, "seconds": 1.0,
    "msec": 1e3, "msecs": 1e3, "millis": 1e3, "millisecond": 1e3, "milliseconds": 1e3,
    "usec": 1e6, "usecs": 1e6, "micros": 1e6, "microsecond": 1e6, "microseconds": 1e6, "μs": 1e6,
    "nsec": 1e9, "nsecs": 1e9, "nanos": 1e9, "nanosecond": 1e9, "nanoseconds": 1e9,
}  # fmt: skip
_BYTES = ("b", "byte", "bytes", "octets")


@dataclass(frozen=True)
class Meaning:
    """What a column of a known name holds.

    Attributes:
        channel: Our name of the channel.
        per_second: How many units of a time or gap are a second.
        zero_is_client: Whether direction 0 is from the client and 1 to it.
        padding: Number that fills the list where there is no packet.
        tool: Who writes such columns.
        sure: Whether the name is hardly used for anything else.
    """

    channel: str
    per_second: float = 1.0
    zero_is_client: bool = False
    padding: float | None = None
    tool: str = ""
    sure: bool = True


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

# Names without a tool that are clear in tables of packets.
_PLAIN = {
    "packet_length": (
        "packet_lengths", "packet length", "packet_size", "packet_sizes", "packet size",
        "packet_len", "packet_lens", "pkt_len", "pkt_lens", "pkt_length", "pkt_lengths",
        "pkt_size", "pkt_sizes", "size", "sizes", "length", "lengths", "len", "signed_size",
        "signed_sizes", "signed_length", "signed_lengths", "frame.len", "frame_len", "ip.len",
        "ip_len", "tcp.len", "tcp_len", "packet_bytes", "pkt_bytes", "payload_length",
        "payload_lengths", "payload_size", "payload_sizes", "payload_len", "payload_lens",
    ),
    "direction": (
        "directions", "packet_direction", "packet_directions", "packet_dir", "packet_dirs",
        "pkt_direction", "pkt_directions", "pkt_dir", "pkt_dirs", "dir", "dirs",
        "flow_direction", "flow_directions",
    ),
    "timestamp": (
        "timestamps", "time", "times", "ts", "packet_time", "packet_times", "packet_timestamp",
        "packet_timestamps", "pkt_time", "pkt_times", "arrival_time", "arrival_times",
        "frame.time_epoch", "frame_time_epoch", "frame.time_relative", "frame_time_relative",
        "frame.time", "frame_time", "tcp.time_relative", "tcp_time_relative",
        "relative_time", "relative_times", "rel_time", "rel_times", "elapsed", "elapsed_time",
        "epoch_time", "unix_time", "unixtime", "time_since_start",
    ),
    "iat": (
        "iats", "ipt", "ipts", "packet_iat", "packet_iats", "pkt_iat", "pkt_iats",
        "inter_arrival_time", "inter_arrival_times", "interarrival_time", "interarrival_times",
        "inter_packet_time", "inter_packet_times", "arrive_time_delta",
        "tcp.time_delta", "tcp_time_delta", "time_delta", "time_deltas", "delta_time",
        "delta_times", "time_diff", "time_diffs", "ipd", "ipds", "dt",
    ),
}  # fmt: skip
_SYNONYMS = {name: channel for channel, names in _PLAIN.items() for name in names}
# Truth values that say one of the two directions: whether 0 is from the client.
_SIDES = {
    **dict.fromkeys(("is_outgoing", "is_upload", "is_uplink", "is_upstream", "from_client"), False),
    **dict.fromkeys(("is_client", "is_c2s", "c2s"), False),
    **dict.fromkeys(("is_incoming", "is_download", "is_downlink", "is_downstream"), True),
    **dict.fromkeys(("from_server", "is_server", "is_s2c", "s2c"), True),
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
    # Until 2017 its tables were called by the data sets: ISCXVPN2016 and ISCXTor2016.
    "CICFlowMeter of ISCX": ("duration", "flowpktspersecond", "flowbytespersecond"),
    "NetFlow": (
        "td", "ipkt", "ibyt", "opkt", "obyt", "in_bytes", "in_pkts", "out_bytes", "out_pkts",
        "flow_duration_milliseconds", "in_packets", "out_packets", "pkt", "byt",
    ),
    "NetFlow 5": ("dpkts", "doctets", "d_pkts", "d_octets"),
    # Information elements: https://www.iana.org/assignments/ipfix
    "IPFIX": (
        "octetdeltacount", "packetdeltacount", "octettotalcount", "packettotalcount",
        "reverseoctetdeltacount", "reversepacketdeltacount", "reverseoctettotalcount",
        "reversepackettotalcount", "flowdurationmilliseconds",
    ),
    # https://docs.zeek.org/en/master/logs/conn.html; TON_IoT names the ends src and dst.
    "Zeek conn.log": (
        "duration", "orig_bytes", "resp_bytes", "orig_pkts", "resp_pkts", "orig_ip_bytes",
        "resp_ip_bytes", "missed_bytes",
    ),
    "Zeek conn.log of TON_IoT": (
        "duration", "src_bytes", "dst_bytes", "src_pkts", "dst_pkts", "src_ip_bytes",
        "dst_ip_bytes", "missed_bytes",
    ),
    # https://openargus.org; UNSW-NB15, BoT-IoT and CTU-13 are its tables.
    "Argus": (
        "dur", "spkts", "dpkts", "sbytes", "dbytes", "pkts", "bytes", "totpkts", "totbytes",
        "srcpkts", "dstpkts", "srcbytes", "dstbytes",
    ),
    # https://github.com/ntop/nDPI: ndpiReader -C
    "nDPI": ("duration", "c_to_s_pkts", "c_to_s_bytes", "s_to_c_pkts", "s_to_c_bytes"),
    "Suricata": (
        "flow_pkts_toserver", "flow_pkts_toclient", "flow_bytes_toserver", "flow_bytes_toclient",
    ),
    # https://tools.netsa.cert.org/yaf/yafscii.html
    "YAF": ("duration", "pkt", "oct", "rpkt", "roct"),
    # https://tranalyzer.com/tutorial/basicflow, in the names of 0.8 and of 0.9
    "Tranalyzer": (
        "duration", "numpktssnt", "numpktsrcvd", "numbytessnt", "numbytesrcvd", "pktssnt",
        "pktsrcvd", "bytessnt", "bytesrcvd",
    ),
    # nfdump 1.7, SiLK, cloud providers
    "flow records": ("duration", "packets", "bytes"),
}  # fmt: skip
# One of these columns alone says whose table it is.
_TELLING = {
    "ibyt", "in_bytes", "flow duration", "flow_duration", "doctets", "d_octets", "octetdeltacount",
    "octettotalcount",
}  # fmt: skip

# In tables of these tools: what the model learns with the class, under our names.
META = {
    "dst_port": "server_port", "dst port": "server_port", "destination port": "server_port",
    "dp": "server_port", "l4_dst_port": "server_port", "dstport": "server_port",
    "dport": "server_port", "dest_port": "server_port", "id.resp_p": "server_port",
    "destinationtransportport": "server_port",
    "protocol": "protocol", "proto": "protocol", "pr": "protocol", "prot": "protocol",
    "pro": "protocol", "protocolidentifier": "protocol", "l4proto": "protocol",
}  # fmt: skip


def is_label(name: str) -> bool:
    """Whether a column of this name may hold the classes."""
    return plain(name) in (*LABELS, *LESS_USUAL_LABELS)


def plain(name: str) -> str:
    """A name in lower case, with _ for blanks and hyphens."""
    return re.sub(r"[\s-]+", "_", name.strip().lower())


def meaning(name: str) -> Meaning | None:
    """What a column of this name holds; None for a name that is not known."""
    lower = name.strip().lower()
    if lower in KINDS:
        return Meaning(lower)
    known = _KNOWN.get(lower.removeprefix("udps."))  # plugins of nfstream
    if known is not None:
        return known
    if lower in _SYNONYMS:
        return Meaning(_SYNONYMS[lower], sure=False)
    if lower in _SIDES:
        return Meaning("direction", zero_is_client=_SIDES[lower], sure=False)
    return _with_unit(lower) or _of_words(name.strip()) or _of_series(lower)


def _with_unit(lower: str) -> Meaning | None:
    """The meaning of a name that ends in a unit."""
    parts = re.fullmatch(r"(.*?)(?:[ _]?[(\[]|_)(?:in[ _])?([a-zµμ]+)[)\]]?", lower)
    if parts is None:
        return None
    channel = _SYNONYMS.get(parts[1], parts[1])
    kind = KINDS.get(channel, ("", ""))[0]
    if kind in ("time", "gap") and parts[2] in _UNITS:
        return Meaning(channel, _UNITS[parts[2]], sure=channel == parts[1])
    return Meaning(channel, sure=False) if kind == "size" and parts[2] in _BYTES else None


def _of_words(name: str) -> Meaning | None:
    """The meaning of a name whose words are set apart by capitals, or by other signs than _."""
    words = plain(re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name)).replace(".", "_")
    return meaning(words) if words != name.lower() else None


def _of_series(lower: str) -> Meaning | None:
    """The meaning of a name that says that it is of lists: packet_length_sequence, iat_list."""
    stem = re.sub(r"_(?:lists?|seqs?|sequences?|arrays?|vector)$", "", lower)
    known = meaning(stem) if stem != lower else None
    return None if known is None else replace(known, sure=False)


def channel_named(name: str) -> str | None:
    """Our name of the channel in a column of this name; None for a name that is not known."""
    known = meaning(name)
    return None if known is None else known.channel


def is_called(name: str, channels: Collection[str]) -> bool:
    """Whether a column is one of these channels, by its own name or by ours."""
    return name in channels or channel_named(name) in channels


def flow_table(names: list[str]) -> tuple[str, list[str]] | None:
    """The tool that writes flows with these columns, and its columns that become channels."""
    by_lower = {name.strip().lower(): name for name in names}
    best: tuple[str, list[str]] | None = None  # of tools that share some names, that with most
    for tool, columns in _FLOWS.items():
        found = [by_lower[column] for column in columns if column in by_lower]
        is_told = len(found) >= 2 or (found and _TELLING & set(by_lower) & set(columns))
        if is_told and (best is None or len(found) > len(best[1])):
            best = tool, found
    return best
