// A packet of a capture, reduced to what traces need.
#pragma once

#include <array>
#include <cstdint>
#include <cstring>
#include <string>

namespace netdiffus::capture {

// IPv6, or IPv4 mapped into it (RFC 4291, section 2.5.5.2).
using Address = std::array<uint8_t, 16>;

struct Endpoint {
  Address address;
  uint16_t port;  // 0 where the protocol has none

  bool operator==(const Endpoint& other) const {
    uint64_t words[4];
    std::memcpy(words, address.data(), 16);
    std::memcpy(words + 2, other.address.data(), 16);
    return words[0] == words[2] && words[1] == words[3] && port == other.port;
  }
  bool operator<(const Endpoint& other) const {
    const int order = std::memcmp(address.data(), other.address.data(), sizeof address);
    return order ? order < 0 : port < other.port;
  }
};

// Packets that this project made carry an Ethernet address that says so.
enum class Origin : uint8_t { wild, client, server };

enum class Fragment : uint8_t { none, first, later };

struct Packet {
  int64_t time;  // ns since 1970
  Endpoint source, destination;
  uint32_t size;  // as the rules want it
  uint32_t fragment_id;
  uint32_t sequence;  // of TCP
  uint8_t protocol;   // of IP
  uint8_t tcp_flags;
  Fragment fragment;
  Origin origin;
  bool framing;     // made, but not of a trace: handshake, teardown
  uint8_t ttl;      // or the hop limit
  uint16_t window;  // of TCP, as it stands in the header
};

constexpr uint8_t kFin = 1, kSyn = 2, kRst = 4, kAck = 16;
constexpr uint8_t kTcp = 6, kUdp = 17;
constexpr uint16_t kWellKnown = 1024;  // ports below are servers'

// Why a packet is in no trace, with a number that tells more.
enum class Drop : uint8_t {
  none,
  link_type,   // the type
  not_ip,      // the EtherType
  not_ip_ppp,  // the protocol of PPP
  wifi,        // kWifi...
  damaged,     // a block that cannot be
  duplicate,
  truncated,
  bad_header,
  fragment,
  framing,
  no_host,
  beyond,
};

constexpr uint32_t kWifiNoData = 0, kWifiEncrypted = 1, kWifiAggregate = 2, kWifiFragment = 3;

struct Verdict {
  Drop why;
  uint32_t detail;

  bool operator<(const Verdict& other) const {
    return why != other.why ? why < other.why : detail < other.detail;
  }
};

constexpr Verdict kKept = {Drop::none, 0};

}  // namespace netdiffus::capture
