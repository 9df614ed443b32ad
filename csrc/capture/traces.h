// Packets in order of time to traces: of a flow, of a host, or of the whole capture.
#pragma once

#include <algorithm>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "items.h"
#include "numbered.h"
#include "open_traces.h"
#include "packet.h"

namespace netdiffus::capture {

enum class Per { flow, host, capture };

// Who the client of a flow is: the sender of its first packet, of its SYN where there is one, or
// else the end with the higher port.
enum class Client { first, syn, port };

struct Network {
  Address prefix;
  int bits;
};

struct Rules {
  Per per;
  Client client;
  int64_t packets;  // kept of each trace; none where bin_ns is set
  int64_t bin_ns;   // 0: packets, not bins
  int64_t bins;     // of each trace; 0: up to its last packet
  int64_t idle_ns, active_ns;
  std::vector<Network> hosts;
  bool headers;  // whether each packet's flags, TTL and window are wanted
};

// Text i is [ends[i], ends[i + 1]).
struct Texts {
  std::vector<int32_t> ends = {0};
  std::string characters;

  void push_back(const char* text) {
    characters += text;
    ends.push_back(static_cast<int32_t>(characters.size()));
  }
};

// Finished traces, as columns; the points of trace i are [offsets[i], offsets[i + 1]).
struct Batch {
  std::vector<int64_t> offsets = {0};
  std::vector<int32_t> sizes;
  std::vector<int8_t> directions;
  std::vector<uint8_t> flags, ttls;  // these and windows only where they are wanted
  std::vector<uint16_t> windows;
  std::vector<int64_t> times;     // ns since the trace's first packet
  std::vector<int64_t> down, up;  // bytes in each bin
  std::vector<int64_t> start, duration, packets, bytes_up, bytes_down;  // ns; of all packets
  Texts client, server;
  std::vector<uint16_t> client_port, server_port;
  std::vector<uint8_t> protocol, synthetic;
};

class Traces {
 public:
  static constexpr size_t kTogether = 32;  // packets that are added at a time, at most

  explicit Traces(const Rules& rules)
      : rules_(rules),
        about_idle_(std::max<int64_t>(1, rules.idle_ns / 16)),
        fragments_(kFragments) {}

  // Packets must come in order of time. Those that are in no trace are counted in `dropped`.
  void add(const Packet* packets, size_t count, std::map<Verdict, uint64_t>& dropped);
  void finish();
  // Moves finished traces to the batch, in order of their first packets, until it has so many
  // points; a trace counts as kLeast of them at least.
  void take(size_t points, Batch& batch);

  uint64_t reused() const { return reused_; }    // flows begun by a SYN with another number
  uint64_t turned() const { return turned_; }    // flows whose first packet came from the server
  uint64_t to_turn() const { return to_turn_; }  // flows where that seems so, but was not asked

 private:
  static constexpr size_t kFragments = 4096;  // first fragments remembered
  static constexpr int64_t kMaxBins = 1'000'000;
  static constexpr size_t kLeast = 64;

  struct Header {
    uint16_t window;
    uint8_t flags, ttl;
  };
  struct Point {
    int64_t time;
    uint32_t size : 31, up : 1;
    Header header;
  };
  struct Bin {
    int64_t index, down, up;
  };
  // Millions may be open at once, so members stand in an order that leaves no gaps.
  struct Trace {
    Endpoint client = {}, server = {};
    uint8_t protocol = 0;
    uint8_t fins = 0;  // 1: from the client, 2: from the server
    bool closed = false, finished = false, synthetic = false;
    int8_t syn = 0;                  // 1: the client as noted has sent it, -1: the server has
    uint8_t sent = 0, numbered = 0;  // 1: by the client, 2: by the server; packets, SYNs
    int8_t direction = 0;            // of the first packet; 0: it is still to be added
    uint32_t size = 0;               // of the first packet
    uint32_t number[2] = {};         // of their SYNs
    Header header = {};              // of the first packet
    int64_t start = 0, last = 0;     // the last of all packets, counted or not
    int64_t end = 0;                 // of the packets counted, as are these:
    int64_t packets = 0, bytes_up = 0, bytes_down = 0;
    Items more;  // points or bins without the first packet's: the flows of a scan have none
  };
  struct FirstFragment {
    Address source, destination;
    uint32_t id;
    uint8_t protocol;
    uint16_t source_port, destination_port;
  };

  void fetch(const Packet* packets, size_t count) const;
  Verdict add(Packet packet);
  bool find_ports(Packet& packet);
  bool is_host(const Address& address) const;
  Verdict add_to_flow(const Packet& packet);
  Verdict add_to_hosts(const Packet& packet);
  Verdict add_to_capture(const Packet& packet);
  void expire(int64_t now);
  bool is_idle(const Trace& trace, int64_t now) const;
  uint32_t hash_of(const Endpoint& one, const Endpoint& other, uint8_t protocol) const;
  uint32_t find(const Endpoint& one, const Endpoint& other, uint8_t protocol) const;
  uint32_t find_at(int64_t now, const Endpoint& one, const Endpoint& other, uint8_t protocol);
  Trace& trace_of(const Packet& packet, const Endpoint& client, const Endpoint& server);
  bool too_old(const Trace& trace, const Packet& packet) const;
  bool begins_anew(const Trace& trace, const Packet& packet) const;
  bool is_reversed(const Trace& trace, Client by) const;
  Verdict append(Trace& trace, const Packet& packet, int direction);
  static void add_to_bin(Trace& trace, int64_t index, bool up, uint32_t size);
  void note_flags(Trace& trace, const Packet& packet, bool from_client);
  void end(uint32_t number);
  void end_or_look_again(uint64_t number, int64_t now);
  void look_again(const Trace& trace, uint64_t number);
  void write(const Trace& trace, Batch& batch);
  void write_points(const Trace& trace, int sign, Batch& batch) const;
  void write_point(const Point& point, int sign, Batch& batch) const;
  void write_bins(const Trace& trace, bool reversed, Batch& batch) const;

  Rules rules_;
  Numbered<Trace> traces_;  // in order of their first packets
  OpenTraces open_;
  // Numbers of the open traces, by the time of a packet of theirs in units of about_idle_: when it
  // is long ago, whether another came after it is looked up. That costs less than to keep them in
  // order of their last packets.
  std::map<int64_t, std::vector<uint64_t>> by_time_;
  int64_t about_idle_;
  std::vector<FirstFragment> fragments_;
  uint64_t reused_ = 0, turned_ = 0, to_turn_ = 0;
};

}  // namespace netdiffus::capture
