// Formats: draft-ietf-opsawg-pcap, draft-ietf-opsawg-pcapng.
#include "container.h"

#include <algorithm>
#include <cstdio>

namespace netdiffus::capture {
namespace {

__extension__ typedef __int128 Wide;

constexpr uint32_t kMicro = 0xa1b2c3d4, kNano = 0xa1b23c4d, kSection = 0x0a0d0d0a;
constexpr uint32_t kByteOrder = 0x1a2b3c4d;
// No tool writes larger ones; a larger length is damage, and would fill the memory.
constexpr uint32_t kMaxPacket = 1 << 20, kMaxBlock = 16 << 20;
constexpr size_t kMaxInterfaces = 1 << 16;
constexpr int64_t kSecond = 1'000'000'000;

std::string hex(uint32_t value) {
  char text[11];
  std::snprintf(text, sizeof text, "0x%08x", value);
  return text;
}

Wide power_of_ten(int exponent) {
  Wide power = 1;
  for (int i = 0; i < exponent; ++i) power *= 10;
  return power;
}

size_t padded(size_t length) { return (length + 3) / 4 * 4; }

}  // namespace

Container::Step Container::next(Bytes& in, Record& record) {
  if (!problem_.empty()) return Step::damaged;
  if (kind_ == unknown) return start(in);
  return kind_ == pcap ? pcap_record(in, record) : block(in, record);
}

Container::Step Container::start(Bytes& in) {
  if (!in.has(4)) return Step::more;
  const uint32_t little = in.le32(0), big = in.be32(0);
  if (little == kSection) {
    kind_ = pcapng;
    return Step::skipped;
  }
  big_ = big == kMicro || big == kNano;
  const uint32_t magic = big_ ? big : little;
  if (magic != kMicro && magic != kNano)
    return damaged("no pcap or pcapng: it begins with " + hex(big));
  unit_ns_ = magic == kNano ? 1 : 1000;
  return pcap_header(in);
}

Container::Step Container::pcap_header(Bytes& in) {
  if (!in.has(24)) return Step::more;
  if (u16(in, 4) != 2)
    return damaged("pcap version " + std::to_string(u16(in, 4)) + ", of which only 2 is read");
  kind_ = pcap;
  link_ = u32(in, 20) & 0xffff;  // above: whether and how long a frame check sequence is
  take(in, 24);
  return Step::skipped;
}

Container::Step Container::pcap_record(Bytes& in, Record& record) {
  if (!in.has(16)) return Step::more;
  const uint32_t kept = u32(in, 8);
  if (kept > kMaxPacket) return damaged("a packet of " + std::to_string(kept) + " bytes");
  if (!in.has(16 + size_t{kept})) return Step::more;
  const int64_t fraction = u32(in, 4);
  record = {u32(in, 0) * kSecond + fraction * unit_ns_, u32(in, 12), link_,
            in.from(16).first(kept)};
  take(in, 16 + size_t{kept});
  return Step::record;
}

Container::Step Container::block(Bytes& in, Record& record) {
  if (!in.has(12)) return Step::more;
  if (in.le32(0) == kSection) {  // alike in both byte orders; says which the section has
    big_ = in.be32(8) == kByteOrder;
    if (!big_ && in.le32(8) != kByteOrder)
      return damaged("a section with byte-order magic " + hex(in.be32(8)));
  }
  const uint32_t type = u32(in, 0), length = u32(in, 4);
  if (length < 12 || length % 4 || length > kMaxBlock)
    return damaged("a block of " + std::to_string(length) + " bytes");
  if (!in.has(length)) return Step::more;
  if (u32(in, length - 4) != length)
    return damaged("a block whose two lengths differ: " + std::to_string(length) + " and " +
                   std::to_string(u32(in, length - 4)));
  const Bytes body = in.from(8).first(length - 12);
  Step step = Step::skipped;
  if (type == kSection) step = section(body);
  if (type == 1) step = interface(body);
  if (type == 2 || type == 6) step = packet(body, type == 6, record);
  if (type == 3) step = simple_packet(body, record);
  if (step != Step::damaged) take(in, length);
  return step;
}

Container::Step Container::section(Bytes body) {
  if (!body.has(16)) return damaged("a section header that is too short");
  if (u16(body, 4) != 1)
    return damaged("pcapng version " + std::to_string(u16(body, 4)) + ", of which only 1 is read");
  interfaces_.clear();
  return Step::skipped;
}

Container::Step Container::interface(Bytes body) {
  if (!body.has(8)) return damaged("an interface description that is too short");
  if (interfaces_.size() == kMaxInterfaces) return damaged("too many interfaces");
  Interface added;
  added.link = u16(body, 0);
  added.snap_length = u32(body, 4);
  Bytes options = body.from(8);
  while (options.has(4) && u16(options, 0)) {
    const size_t length = u16(options, 2);
    if (!options.has(4 + padded(length))) return damaged("an option longer than its block");
    option(added, u16(options, 0), options.from(4).first(length));
    options = options.from(4 + padded(length));
  }
  interfaces_.push_back(added);
  return Step::skipped;
}

void Container::option(Interface& to, uint16_t code, Bytes value) const {
  if (code == 9 && value.has(1)) to.resolution = value.u8(0);
  if (code == 14 && value.has(8)) to.offset_s = static_cast<int64_t>(u64(value, 0));
}

Container::Step Container::packet(Bytes body, bool enhanced, Record& record) {
  if (!body.has(20)) return damaged("a packet block that is too short");
  const uint32_t index = enhanced ? u32(body, 0) : u16(body, 0), kept = u32(body, 12);
  if (index >= interfaces_.size())
    return damaged("a packet of interface " + std::to_string(index) + ", which is not described");
  if (!body.from(20).has(kept)) return damaged("a packet longer than its block");
  const Interface& from = interfaces_[index];
  const uint64_t units = uint64_t{u32(body, 4)} << 32 | u32(body, 8);
  if (!to_ns(from, units, record.time)) return damaged("a packet with an impossible time");
  last_time_ = record.time;
  record.length = u32(body, 16);
  record.link = from.link;
  record.data = body.from(20).first(kept);
  return Step::record;
}

Container::Step Container::simple_packet(Bytes body, Record& record) {
  if (!body.has(4)) return damaged("a packet block that is too short");
  if (interfaces_.empty()) return damaged("a packet before any interface is described");
  const Interface& from = interfaces_[0];
  size_t kept = std::min<size_t>(u32(body, 0), body.size - 4);
  if (from.snap_length) kept = std::min<size_t>(kept, from.snap_length);
  record = {last_time_, u32(body, 0), from.link, body.from(4).first(kept)};
  ++untimed_;
  return Step::record;
}

Container::Step Container::damaged(const std::string& what) {
  problem_ = what;
  return Step::damaged;
}

bool Container::to_ns(const Interface& from, uint64_t units, int64_t& ns) const {
  const int exponent = from.resolution & 0x7f;
  Wide time;
  if (from.resolution & 0x80) {
    time = (Wide{units} * kSecond) >> exponent;
  } else if (exponent <= 9) {
    time = Wide{units} * power_of_ten(9 - exponent);
  } else {
    time = exponent > 28 ? 0 : Wide{units} / power_of_ten(exponent - 9);
  }
  time += Wide{from.offset_s} * kSecond;
  ns = static_cast<int64_t>(time);
  // Half of what int64 holds, so that differences of times hold as well.
  return time < (int64_t{1} << 62) && time > -(int64_t{1} << 62);
}

void Container::take(Bytes& in, size_t count) {
  in = in.from(count);
  offset_ += count;
}

uint64_t Container::u64(Bytes in, size_t at) const {
  const uint64_t first = u32(in, at), second = u32(in, at + 4);
  return big_ ? first << 32 | second : second << 32 | first;
}

}  // namespace netdiffus::capture
