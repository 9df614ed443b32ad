// Packets in order of time to traces: of a flow, of a host, or of the whole capture.
#pragma once

#include <cstdint>
#include <deque>
#include <string>
#include <unordered_map>
#include <vector>

#include "packet.h"

namespace netdiffus::capture {

enum class Per { flow, host, capture };

struct Network {
  Address prefix;
  int bits;
};

struct Rules {
  Per per;
  bool syn_is_client;  // else the sender of the first packet is
  int64_t packets;     // kept of each trace; none where bin_ns is set
  int64_t bin_ns;      // 0: packets, not bins
  int64_t bins;        // of each trace; 0: up to its last packet
  int64_t idle_ns, active_ns;
  std::vector<Network> hosts;
};

// Finished traces, as columns; the points of trace i are [offsets[i], offsets[i + 1]).
struct Batch {
  std::vector<int64_t> offsets = {0};
  std::vector<int32_t> sizes;
  std::vector<int8_t> directions;
  std::vector<int64_t> times;     // ns since the trace's first packet
  std::vector<int64_t> down, up;  // bytes in each bin
  std::vector<int64_t> start, duration, packets, bytes_up, bytes_down;  // ns; of all packets
  std::vector<std::string> client, server;
  std::vector<uint16_t> client_port, server_port;
  std::vector<uint8_t> protocol, synthetic;
};

class Traces {
 public:
  explicit Traces(const Rules& rules) : rules_(rules), fragments_(kFragments) {}

  // Packets must come in order of time.
  Verdict add(Packet packet);
  void finish();
  // Moves finished traces to the batch, in order of their first packets, until it has so many
  // points.
  void take(size_t points, Batch& batch);

 private:
  static constexpr size_t kFragments = 4096;  // first fragments remembered
  static constexpr int64_t kMaxBins = 1'000'000;

  struct Key {
    Endpoint low, high;
    uint8_t protocol;
    bool operator==(const Key& other) const {
      return low == other.low && high == other.high && protocol == other.protocol;
    }
  };
  struct Hash {
    size_t operator()(const Key& key) const;
  };
  struct Point {
    int64_t time;
    int32_t size;
    int8_t direction;
  };
  struct Bin {
    int64_t index, down, up;
  };
  struct Trace {
    Key key;
    Endpoint client, server;
    int64_t start, end, last;  // of the packets counted; the last of all
    int64_t packets = 0, bytes_up = 0, bytes_down = 0;
    std::vector<Point> points;
    std::vector<Bin> bins;
    uint8_t fins = 0;  // 1: from the client, 2: from the server
    bool closed = false, finished = false, synthetic = false;
    bool swapped = false;  // a SYN has shown that the first packet was the server's
    Trace *older = nullptr, *newer = nullptr;  // by their last packet
  };
  struct FirstFragment {
    Address source, destination;
    uint32_t id;
    uint8_t protocol;
    uint16_t source_port, destination_port;
  };

  bool find_ports(Packet& packet);
  bool is_host(const Address& address) const;
  Verdict add_to_flow(const Packet& packet);
  Verdict add_to_hosts(const Packet& packet);
  Verdict add_to_capture(const Packet& packet);
  void expire(int64_t now);
  Trace& trace_of(const Key& key, const Packet& packet, const Endpoint& client,
                  const Endpoint& server);
  bool over(const Trace& trace, const Packet& packet) const;
  Verdict append(Trace& trace, const Packet& packet, int direction);
  void note_flags(Trace& trace, const Packet& packet, bool from_client);
  void end(Trace& trace);
  void link(Trace& trace);
  void unlink(Trace& trace);
  void write(const Trace& trace, Batch& batch) const;
  void write_bins(const Trace& trace, Batch& batch) const;

  Rules rules_;
  std::deque<Trace> traces_;  // in order of their first packets
  std::unordered_map<Key, Trace*, Hash> open_;
  Trace *oldest_ = nullptr, *newest_ = nullptr;
  std::vector<FirstFragment> fragments_;
};

}  // namespace netdiffus::capture
