#include "traces.h"

#include <arpa/inet.h>

#include <algorithm>
#include <utility>

#include "prefetch.h"

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

// As inet_ntop does, which takes a microsecond.
void write_v4(const uint8_t* address, Texts& texts) {
  char text[4 * 4], *at = text;
  for (int i = 0; i < 4; ++i) {
    const int value = address[i];
    if (value >= 100) *at++ = static_cast<char>('0' + value / 100);
    if (value >= 10) *at++ = static_cast<char>('0' + value / 10 % 10);
    *at++ = static_cast<char>('0' + value % 10);
    *at++ = '.';
  }
  at[-1] = 0;
  texts.push_back(text);
}

void write_address(const Address& address, Texts& texts) {
  char buffer[INET6_ADDRSTRLEN];
  if (std::equal(kMapped.begin(), kMapped.begin() + 12, address.begin()))
    return write_v4(address.data() + 12, texts);
  texts.push_back(inet_ntop(AF_INET6, address.data(), buffer, sizeof buffer));
}

bool inside(const Address& address, const Network& network) {
  const int bytes = network.bits / 8, bits = network.bits % 8;
  if (!std::equal(address.begin(), address.begin() + bytes, network.prefix.begin())) return false;
  return !bits || (address[bytes] ^ network.prefix[bytes]) >> (8 - bits) == 0;
}

}  // namespace

void Traces::add(const Packet* packets, size_t count, std::map<Verdict, uint64_t>& dropped) {
  if (rules_.per == Per::flow) fetch(packets, count);
  for (size_t i = 0; i < count; ++i) {
    const Verdict verdict = add(packets[i]);
    if (verdict.why != Drop::none) ++dropped[verdict];
  }
}

// Each packet touches three places of a large memory: that in the table, the trace and the end of
// its points. Those of several packets come from memory together.
void Traces::fetch(const Packet* packets, size_t count) const {
  uint32_t hashes[kTogether];
  const Trace* found[kTogether];
  for (size_t i = 0; i < count; ++i) {
    hashes[i] = hash_of(packets[i].source, packets[i].destination, packets[i].protocol);
    open_.prefetch(hashes[i]);
  }
  for (size_t i = 0; i < count; ++i) {
    const uint32_t number = open_.find(hashes[i], [](uint32_t) { return true; });
    found[i] = number == OpenTraces::kNone ? nullptr : &traces_[number];
    if (found[i]) prefetch(found[i], sizeof(Trace));
  }
  for (size_t i = 0; i < count; ++i)
    if (found[i]) prefetch(found[i]->more.end<Point>());
}

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
    const uint32_t found = find_at(packet.time, packet.source, packet.destination, packet.protocol);
    if (found != OpenTraces::kNone && packet.tcp_flags & (kFin | kRst)) end(found);
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

// Ends the traces that have been idle for long. One that has been so for less than a sixteenth more
// may stay, and is ended where it is found.
void Traces::expire(int64_t now) {
  while (!by_time_.empty()) {
    const int64_t time = by_time_.begin()->first * about_idle_;
    if (now - time - about_idle_ < rules_.idle_ns) return;
    const std::vector<uint64_t> numbers = std::move(by_time_.begin()->second);
    by_time_.erase(by_time_.begin());
    for (const uint64_t number : numbers) end_or_look_again(number, now);
  }
}

void Traces::end_or_look_again(uint64_t number, int64_t now) {
  if (number < traces_.first()) return;
  const auto short_number = static_cast<uint32_t>(number);
  const Trace& trace = traces_[short_number];
  if (trace.finished) return;
  if (is_idle(trace, now))
    end(short_number);
  else
    look_again(trace, number);
}

bool Traces::is_idle(const Trace& trace, int64_t now) const {
  return !trace.synthetic && now - trace.last >= rules_.idle_ns;
}

void Traces::look_again(const Trace& trace, uint64_t number) {
  by_time_[trace.last / about_idle_].push_back(number);
}

// The same of both directions; of a capture there is one trace, whatever its ends.
uint32_t Traces::hash_of(const Endpoint& one, const Endpoint& other, uint8_t protocol) const {
  if (rules_.per == Per::capture) return 0;
  const uint64_t ends = mix(one.port, one.address) + mix(other.port, other.address);
  return static_cast<uint32_t>(mix(protocol, ends));
}

uint32_t Traces::find(const Endpoint& one, const Endpoint& other, uint8_t protocol) const {
  return open_.find(hash_of(one, other, protocol), [&](uint32_t number) {
    if (rules_.per == Per::capture) return true;
    const Trace& trace = traces_[number];
    if (trace.protocol != protocol) return false;
    return (trace.client == one && trace.server == other) ||
           (trace.client == other && trace.server == one);
  });
}

// The same, unless it has been idle too long.
uint32_t Traces::find_at(int64_t now, const Endpoint& one, const Endpoint& other,
                         uint8_t protocol) {
  const uint32_t found = find(one, other, protocol);
  if (found == OpenTraces::kNone || !is_idle(traces_[found], now)) return found;
  end(found);
  return OpenTraces::kNone;
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
  next.synthetic = packet.origin != Origin::wild;
  const uint32_t found = find_at(packet.time, client, server, protocol);
  if (found != OpenTraces::kNone) {
    Trace& current = traces_[found];
    const bool anew = begins_anew(current, packet);
    if (!anew && !too_old(current, packet)) return current;
    reused_ += anew && !current.closed;
    if (!anew && !current.closed) {  // cut by its age alone: both ends remain what they were
      next.client = current.client;
      next.server = current.server;
      next.syn = current.syn;
      next.sent = current.sent;
      next.numbered = current.numbered;
      std::copy_n(current.number, 2, next.number);
    }
    end(found);
  }
  const uint64_t number = traces_.end();
  open_.insert(hash_of(client, server, protocol), static_cast<uint32_t>(number));
  if (!next.synthetic) look_again(next, number);
  return traces_.push_back(std::move(next));
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
  if (bin >= (rules_.bins ? rules_.bins : kMaxBins)) return {Drop::beyond, 0};
  const Header header = {packet.window, packet.tcp_flags, packet.ttl};
  trace.end = trace.direction ? packet.time : trace.start;
  (direction > 0 ? trace.bytes_up : trace.bytes_down) += packet.size;
  ++trace.packets;
  if (!trace.direction) {
    trace.size = packet.size;
    trace.header = header;
    trace.direction = static_cast<int8_t>(direction);
  } else if (rules_.bin_ns) {
    add_to_bin(trace, bin, direction > 0, packet.size);
  } else if (trace.packets <= rules_.packets) {
    trace.more.push_back(Point{time, packet.size, direction > 0, header});
  }
  return kKept;
}

void Traces::add_to_bin(Trace& trace, int64_t index, bool up, uint32_t size) {
  if (trace.more.empty() || trace.more.end<Bin>()[-1].index != index)
    trace.more.push_back(Bin{index, 0, 0});
  Bin& bin = trace.more.end<Bin>()[-1];
  (up ? bin.up : bin.down) += size;
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

void Traces::end(uint32_t number) {
  Trace& trace = traces_[number];
  open_.erase(hash_of(trace.client, trace.server, trace.protocol), number);
  trace.finished = true;
}

void Traces::finish() {
  for (uint64_t number = traces_.first(); number < traces_.end(); ++number)
    traces_[static_cast<uint32_t>(number)].finished = true;
  open_ = {};
  by_time_.clear();
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
  if (rules_.bin_ns)
    write_bins(trace, reversed, batch);
  else
    write_points(trace, reversed ? -1 : 1, batch);
  const Endpoint& client = reversed ? trace.server : trace.client;
  const Endpoint& server = reversed ? trace.client : trace.server;
  batch.start.push_back(trace.start);
  batch.duration.push_back(trace.end - trace.start);
  batch.packets.push_back(trace.packets);
  batch.bytes_up.push_back(reversed ? trace.bytes_down : trace.bytes_up);
  batch.bytes_down.push_back(reversed ? trace.bytes_up : trace.bytes_down);
  write_address(client.address, batch.client);
  if (rules_.per == Per::flow) write_address(server.address, batch.server);  // others have none
  batch.client_port.push_back(client.port);
  batch.server_port.push_back(server.port);
  batch.protocol.push_back(trace.protocol);
  batch.synthetic.push_back(trace.synthetic);
}

void Traces::write_points(const Trace& trace, int sign, Batch& batch) const {
  write_point({0, trace.size, trace.direction > 0, trace.header}, sign, batch);
  for (size_t i = 0; i < trace.more.size(); ++i)
    write_point(trace.more.begin<Point>()[i], sign, batch);
  batch.offsets.push_back(static_cast<int64_t>(batch.sizes.size()));
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

void Traces::write_bins(const Trace& trace, bool reversed, Batch& batch) const {
  const Bin *bin = trace.more.begin<Bin>(), *end = trace.more.end<Bin>();
  const int64_t last = bin == end ? 0 : end[-1].index;
  const size_t from = batch.down.size();
  batch.down.resize(from + static_cast<size_t>(rules_.bins ? rules_.bins : last + 1));
  batch.up.resize(batch.down.size());
  ((trace.direction > 0) != reversed ? batch.up : batch.down)[from] = trace.size;
  for (; bin != end; ++bin) {
    const size_t at = from + static_cast<size_t>(bin->index);
    batch.down[at] += reversed ? bin->up : bin->down;
    batch.up[at] += reversed ? bin->down : bin->up;
  }
  batch.offsets.push_back(static_cast<int64_t>(batch.down.size()));
}

}  // namespace netdiffus::capture
