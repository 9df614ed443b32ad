#include "traces.h"

#include <arpa/inet.h>

#include <algorithm>
#include <utility>

namespace netdiffus::capture {
namespace {

const Address kMapped = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

uint64_t mix(uint64_t h, uint64_t word) {
  h = (h ^ word) * 0x9e3779b97f4a7c15;
  return h ^ h >> 32;
}

uint64_t mix(uint64_t h, const Address& address) {
  uint64_t words[2];
  std::memcpy(words, address.data(), sizeof words);
  return mix(mix(h, words[0]), words[1]);
}

void write_address(const Address& address, Texts& texts) {
  char buffer[INET6_ADDRSTRLEN];
  const bool v4 = std::equal(kMapped.begin(), kMapped.begin() + 12, address.begin());
  texts.push_back(v4 ? inet_ntop(AF_INET, address.data() + 12, buffer, sizeof buffer)
                     : inet_ntop(AF_INET6, address.data(), buffer, sizeof buffer));
}

bool inside(const Address& address, const Network& network) {
  const int bytes = network.bits / 8, bits = network.bits % 8;
  if (!std::equal(address.begin(), address.begin() + bytes, network.prefix.begin())) return false;
  return !bits || (address[bytes] ^ network.prefix[bytes]) >> (8 - bits) == 0;
}

}  // namespace

Verdict Traces::add(Packet packet) {
  if (rules_.per == Per::flow && !find_ports(packet)) return {Drop::fragment, 0};
  expire(packet.time);
  if (rules_.per == Per::flow) return add_to_flow(packet);
  return rules_.per == Per::host ? add_to_hosts(packet) : add_to_capture(packet);
}

// Only a datagram's first fragment has its ports; the later ones are found by its number.
bool Traces::find_ports(Packet& packet) {
  if (packet.fragment == Fragment::none) return true;
  const uint64_t h =
      mix(mix(packet.fragment_id, packet.source.address), packet.destination.address);
  FirstFragment& seen = fragments_[h % kFragments];
  if (packet.fragment == Fragment::first) {
    seen = {packet.source.address, packet.destination.address, packet.fragment_id,
            packet.protocol,       packet.source.port,         packet.destination.port};
    return true;
  }
  if (seen.source != packet.source.address || seen.destination != packet.destination.address ||
      seen.id != packet.fragment_id)
    return false;
  packet.protocol = seen.protocol;  // IPv6 names what follows only in the first
  packet.source.port = seen.source_port;
  packet.destination.port = seen.destination_port;
  return true;
}

Verdict Traces::add_to_flow(const Packet& packet) {
  if (packet.framing) {
    Trace* found = find(packet.source, packet.destination, packet.protocol);
    if (found && packet.tcp_flags & (kFin | kRst)) end(*found);
    return {Drop::framing, 0};
  }
  const bool reversed = packet.origin == Origin::server;
  Trace& trace = trace_of(packet, reversed ? packet.destination : packet.source,
                          reversed ? packet.source : packet.destination);
  const bool from_client = packet.origin == Origin::wild ? packet.source == trace.client
                                                         : packet.origin == Origin::client;
  note_flags(trace, packet, from_client);
  return append(trace, packet, from_client ? 1 : -1);
}

Verdict Traces::add_to_hosts(const Packet& packet) {
  if (packet.framing) return {Drop::framing, 0};
  Verdict verdict = {Drop::no_host, 0};
  for (const bool up : {true, false}) {
    const Endpoint host = {(up ? packet.source : packet.destination).address, 0};
    if (!is_host(host.address)) continue;
    verdict = append(trace_of(packet, host, {}), packet, up ? 1 : -1);
  }
  return verdict;
}

Verdict Traces::add_to_capture(const Packet& packet) {
  if (packet.framing) return {Drop::framing, 0};
  const bool reversed = packet.origin == Origin::server;
  const Endpoint& sender = reversed ? packet.destination : packet.source;
  Trace& trace = trace_of(packet, {sender.address, 0}, {});
  bool up = packet.source.address == trace.client.address;
  if (!rules_.hosts.empty()) up = is_host(packet.source.address);
  if (packet.origin != Origin::wild) up = !reversed;
  return append(trace, packet, up ? 1 : -1);
}

bool Traces::is_host(const Address& address) const {
  return std::any_of(rules_.hosts.begin(), rules_.hosts.end(),
                     [&](const Network& network) { return inside(address, network); });
}

void Traces::expire(int64_t now) {
  while (oldest_ && now - oldest_->last >= rules_.idle_ns) end(*oldest_);
}

// The same of both directions; of a capture there is one trace, whatever its ends.
uint32_t Traces::hash_of(const Endpoint& one, const Endpoint& other, uint8_t protocol) const {
  if (rules_.per == Per::capture) return 0;
  const uint64_t ends = mix(one.port, one.address) + mix(other.port, other.address);
  return static_cast<uint32_t>(mix(protocol, ends));
}

Traces::Trace* Traces::find(const Endpoint& one, const Endpoint& other, uint8_t protocol) const {
  return open_.find(hash_of(one, other, protocol), [&](const Trace& trace) {
    if (rules_.per == Per::capture) return true;
    if (trace.protocol != protocol) return false;
    return (trace.client == one && trace.server == other) ||
           (trace.client == other && trace.server == one);
  });
}

// The open trace of these ends, or a new one.
Traces::Trace& Traces::trace_of(const Packet& packet, const Endpoint& client,
                                const Endpoint& server) {
  const uint8_t protocol = rules_.per == Per::flow ? packet.protocol : 0;
  Trace next;
  next.client = client;
  next.server = server;
  next.protocol = protocol;
  next.start = next.last = packet.time;
  if (Trace* current = find(client, server, protocol)) {
    const bool anew = begins_anew(*current, packet);
    if (!anew && !too_old(*current, packet)) return *current;
    reused_ += anew && !current->closed;
    if (!anew && !current->closed) {  // cut by its age alone: both ends remain what they were
      next.client = current->client;
      next.server = current->server;
      next.syn = current->syn;
      next.sent = current->sent;
      next.numbered = current->numbered;
      std::copy_n(current->number, 2, next.number);
    }
    end(*current);
  }
  traces_.push_back(std::move(next));
  Trace& added = traces_.back();
  added.synthetic = packet.origin != Origin::wild;
  open_.insert(hash_of(client, server, protocol), &added);
  if (!added.synthetic) link(added);
  return added;
}

bool Traces::too_old(const Trace& trace, const Packet& packet) const {
  return !trace.synthetic && packet.time - trace.start >= rules_.active_ns;
}

// A SYN begins a connection, unless it is the same one again or the other end's.
bool Traces::begins_anew(const Trace& trace, const Packet& packet) const {
  if (trace.synthetic || rules_.per != Per::flow || packet.protocol != kTcp) return false;
  if ((packet.tcp_flags & (kSyn | kAck)) != kSyn) return false;
  const int end = packet.source == trace.client ? 0 : 1, bit = 1 << end;
  if (trace.closed) return true;
  if (trace.numbered & bit) return trace.number[end] != packet.sequence;
  return trace.sent & bit || !trace.numbered;
}

Verdict Traces::append(Trace& trace, const Packet& packet, int direction) {
  const int64_t time = packet.time - trace.start, bin = rules_.bin_ns ? time / rules_.bin_ns : 0;
  trace.last = packet.time;
  if (!trace.synthetic) {
    unlink(trace);
    link(trace);
  }
  if (bin >= (rules_.bins ? rules_.bins : kMaxBins)) return {Drop::beyond, 0};
  if (!trace.direction) {
    trace.size = packet.size;
    trace.header = {packet.window, packet.tcp_flags, packet.ttl};
    trace.direction = static_cast<int8_t>(direction);
    return kKept;
  }
  if (!trace.more) trace.more = std::make_unique<More>(only_first(trace));
  More& more = *trace.more;
  more.end = packet.time;
  (direction > 0 ? more.bytes_up : more.bytes_down) += packet.size;
  if (++more.packets > rules_.packets && !rules_.bin_ns) return kKept;
  if (rules_.bin_ns) {
    if (more.bins.empty() || more.bins.back().index != bin) more.bins.push_back({bin, 0, 0});
    (direction > 0 ? more.bins.back().up : more.bins.back().down) += packet.size;
  } else {
    const Header header = {packet.window, packet.tcp_flags, packet.ttl};
    more.points.push_back({time, packet.size, direction > 0, header});
  }
  return kKept;
}

Traces::More Traces::only_first(const Trace& trace) {
  const bool up = trace.direction > 0;
  return {trace.start, 1, up ? trace.size : 0, up ? 0 : trace.size, {}, {}};
}

void Traces::note_flags(Trace& trace, const Packet& packet, bool from_client) {
  if (packet.protocol != kTcp) return;
  const uint8_t bit = from_client ? 1 : 2;
  trace.sent |= bit;
  if (packet.tcp_flags & kFin) trace.fins |= bit;
  if (packet.tcp_flags & kRst || trace.fins == 3) trace.closed = true;
  if (!(packet.tcp_flags & kSyn)) return;
  trace.numbered |= bit;
  trace.number[from_client ? 0 : 1] = packet.sequence;
  if (packet.origin == Origin::wild)
    trace.syn = from_client == !!(packet.tcp_flags & kAck) ? -1 : 1;
}

void Traces::end(Trace& trace) {
  if (!trace.synthetic) unlink(trace);
  open_.erase(hash_of(trace.client, trace.server, trace.protocol), &trace);
  trace.finished = true;
}

void Traces::finish() {
  for (Trace& trace : traces_) trace.finished = true;
  open_ = {};
  oldest_ = newest_ = nullptr;
}

void Traces::link(Trace& trace) {
  trace.older = newest_;
  trace.newer = nullptr;
  (newest_ ? newest_->newer : oldest_) = &trace;
  newest_ = &trace;
}

void Traces::unlink(Trace& trace) {
  (trace.older ? trace.older->newer : oldest_) = trace.newer;
  (trace.newer ? trace.newer->older : newest_) = trace.older;
}

void Traces::take(size_t points, Batch& batch) {
  while (!traces_.empty() && traces_.front().finished &&
         static_cast<size_t>(batch.offsets.back()) + kLeast * batch.start.size() < points) {
    write(traces_.front(), batch);
    traces_.pop_front();
  }
}

// Whether the client by this rule is the end that was noted as the server.
bool Traces::is_reversed(const Trace& trace, Client by) const {
  if (by == Client::first || trace.synthetic || rules_.per != Per::flow) return false;
  if (trace.syn || by == Client::syn) return trace.syn < 0;
  return trace.client.port < trace.server.port;
}

void Traces::write(const Trace& trace, Batch& batch) {
  const bool reversed = is_reversed(trace, rules_.client);
  turned_ += reversed;
  // By ports alone only where one of them is a server's beyond doubt.
  const bool sure = trace.syn || (trace.client.port && trace.client.port < kWellKnown &&
                                  trace.server.port >= kWellKnown);
  to_turn_ += !reversed && sure && is_reversed(trace, Client::port);
  const int sign = reversed ? -1 : 1;
  const More first = trace.more ? More{} : only_first(trace);
  const More& more = trace.more ? *trace.more : first;
  if (rules_.bin_ns) {
    write_bins(trace, more, reversed, batch);
  } else {
    write_point({0, trace.size, trace.direction > 0, trace.header}, sign, batch);
    for (const Point& point : more.points) write_point(point, sign, batch);
    batch.offsets.push_back(static_cast<int64_t>(batch.sizes.size()));
  }
  const Endpoint& client = reversed ? trace.server : trace.client;
  const Endpoint& server = reversed ? trace.client : trace.server;
  batch.start.push_back(trace.start);
  batch.duration.push_back(more.end - trace.start);
  batch.packets.push_back(more.packets);
  batch.bytes_up.push_back(reversed ? more.bytes_down : more.bytes_up);
  batch.bytes_down.push_back(reversed ? more.bytes_up : more.bytes_down);
  write_address(client.address, batch.client);
  if (rules_.per == Per::flow) write_address(server.address, batch.server);  // others have none
  batch.client_port.push_back(client.port);
  batch.server_port.push_back(server.port);
  batch.protocol.push_back(trace.protocol);
  batch.synthetic.push_back(trace.synthetic);
}

void Traces::write_point(const Point& point, int sign, Batch& batch) const {
  batch.sizes.push_back(static_cast<int32_t>(point.size));
  batch.directions.push_back(static_cast<int8_t>(point.up ? sign : -sign));
  batch.times.push_back(point.time);
  if (!rules_.headers) return;
  batch.flags.push_back(point.header.flags);
  batch.ttls.push_back(point.header.ttl);
  batch.windows.push_back(point.header.window);
}

void Traces::write_bins(const Trace& trace, const More& more, bool reversed, Batch& batch) const {
  const int64_t last = more.bins.empty() ? 0 : more.bins.back().index;
  const size_t from = batch.down.size();
  batch.down.resize(from + static_cast<size_t>(rules_.bins ? rules_.bins : last + 1));
  batch.up.resize(batch.down.size());
  ((trace.direction > 0) != reversed ? batch.up : batch.down)[from] = trace.size;
  for (const Bin& bin : more.bins) {
    const size_t at = from + static_cast<size_t>(bin.index);
    batch.down[at] += reversed ? bin.up : bin.down;
    batch.up[at] += reversed ? bin.down : bin.up;
  }
  batch.offsets.push_back(static_cast<int64_t>(batch.down.size()));
}

}  // namespace netdiffus::capture
