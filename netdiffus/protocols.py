"""Numbers and names of protocols above IP, from IANA's list of protocol numbers."""

from __future__ import annotations

TCP, UDP = 6, 17
PROTOCOLS = {1: "icmp", 2: "igmp", TCP: "tcp", UDP: "udp", 47: "gre", 50: "esp", 58: "icmpv6"}
PROTOCOLS |= {132: "sctp"}
NUMBERS = {name: number for number, name in PROTOCOLS.items()}
