// Formats: draft-ietf-opsawg-pcap, draft-ietf-opsawg-pcapng, RFC 1761 (snoop). The modified pcap of
// Alexey Kuznetsov has 8 bytes more in each record header.
#include "container.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>

namespace netdiffus::capture {
namespace {

__extension__ typedef __int128 Wide;

constexpr uint32_t kMicro = 0xa1b2c3d4, kNano = 0xa1b23c4d, kModified = 0xa1b2cd34;
constexpr uint32_t kSection = 0x0a0d0d0a, kSnoop = 0x736e6f6f, kSnoopRest = 0x70000000;
constexpr uint32_t kByteOrder = 0x1a2b3c4d;
// No tool writes larger ones; a larger length is damage, and would fill the memory.
constexpr uint32_t kMaxPacket = 1 << 20, kMaxBlock = 16 << 20;
constexpr size_t kMaxInterfaces = 1 << 16;
constexpr int64_t kSecond = 1'000'000'000;
// Where a record header is guessed: how far its time may be from the packet's before, and the
// earliest time where there is none.
constexpr int64_t kYear_s = 366 * 86400, kEarliest_s = 100'000'000;
constexpr uint32_t kNoLink = 0xffff;  // of an interface whose description is damaged

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

bool is_pcap(uint32_t magic) { return magic == kMicro || magic == kNano || magic == kModified; }

bool is_block(uint32_t type) {
  return type == kSection || (type && type <= 6) || type == 0x0bad || type == 0x40000bad;
}

size_t padded(size_t length) { return (length + 3) / 4 * 4; }

}  // namespace

Container::Step Container::next(Bytes& in, Record& record, bool last) {
  if (ended_) return Step::damaged;
  if (kind_ == unknown) return start(in);
  if (searching_) return search(in, last);
  const Guess another = file_begins(in, last);
  if (another == Guess::more) return Step::more;
  if (another == Guess::yes) return start(in);
  if (kind_ == pcapng) return block(in, record);
  return kind_ == pcap ? pcap_record(in, record) : snoop_record(in, record);
}

void Container::cut_short(Bytes& in) {
  search_behind(in, "the file ends within a packet or block, " + std::to_string(in.size) +
                        " bytes after its start");
}

void Container::next_file() {
  kind_ = unknown;
  searching_ = ended_ = false;
  first_s_ = seconds_ = -1;
  offset_ = 0;
  interfaces_.clear();
}

Container::Step Container::start(Bytes& in) {
  if (!in.has(4)) return Step::more;
  const uint32_t little = in.le32(0), big = in.be32(0);
  if (little == kSection) {
    kind_ = pcapng;
    ++files_;
    return Step::skipped;
  }
  if (big == kSnoop) return snoop_header(in);
  big_ = is_pcap(big);
  const uint32_t magic = big_ ? big : little;
  if (!is_pcap(magic)) return end("no pcap or pcapng: it begins with " + hex(big));
  unit_ns_ = magic == kNano ? 1 : 1000;
  head_ = magic == kModified ? 24 : 16;
  return pcap_header(in);
}

Container::Step Container::pcap_header(Bytes& in) {
  if (!in.has(24)) return Step::more;
  if (u16(in, 4) != 2)
    return end("pcap version " + std::to_string(u16(in, 4)) + ", of which only 2 is read");
  kind_ = pcap;
  ++files_;
  link_ = u32(in, 20) & 0xffff;  // above: whether and how long a frame check sequence is
  take(in, 24);
  return Step::skipped;
}

Container::Step Container::snoop_header(Bytes& in) {
  if (!in.has(16)) return Step::more;
  if (in.be32(4) != kSnoopRest) return end("no pcap or pcapng: it begins with " + hex(in.be32(0)));
  const uint32_t version = in.be32(8), media = in.be32(12);
  if (version != 2)
    return end("snoop version " + std::to_string(version) + ", of which only 2 is read");
  kind_ = snoop;
  ++files_;
  link_ = media == 0 || media == 4 ? 1 : kSnoopMedia | media;  // IEEE 802.3, Ethernet
  take(in, 16);
  return Step::skipped;
}

Container::Step Container::pcap_record(Bytes& in, Record& record) {
  if (!in.has(head_)) return Step::more;
  const uint32_t kept = u32(in, 8);
  if (kept > kMaxPacket) return search_behind(in, "a packet of " + std::to_string(kept) + " bytes");
  if (!in.has(head_ + size_t{kept})) return Step::more;
  const int64_t seconds = u32(in, 0), fraction = u32(in, 4);
  // A time far off alone does happen; with other fields that cannot be, this is no header.
  if (first_s_ >= 0 && !is_near(seconds) && !has_possible_fields(in))
    return search_behind(in, "a packet header that cannot be");
  beyond_ += fraction * unit_ns_ >= kSecond;
  seconds_ = seconds;
  if (first_s_ < 0) first_s_ = seconds;
  record = {seconds_ * kSecond + fraction * unit_ns_, u32(in, 12), link_,
            in.from(head_).first(kept)};
  take(in, head_ + size_t{kept});
  return Step::record;
}

Container::Step Container::snoop_record(Bytes& in, Record& record) {
  if (!in.has(24)) return Step::more;
  const uint32_t kept = in.be32(4), whole = in.be32(8);
  if (kept > kMaxPacket || whole < 24 || whole - 24 < kept || whole > kMaxBlock)
    return end("a packet of " + std::to_string(kept) + " bytes in a record of " +
               std::to_string(whole));
  if (!in.has(whole)) return Step::more;
  record = {in.be32(16) * kSecond + int64_t{in.be32(20)} * 1000, in.be32(0), link_,
            in.from(24).first(kept)};
  take(in, whole);
  return Step::record;
}

Container::Step Container::block(Bytes& in, Record& record) {
  if (!in.has(12)) return Step::more;
  if (in.le32(0) == kSection) {  // alike in both byte orders; says which the section has
    big_ = in.be32(8) == kByteOrder;
    if (!big_ && in.le32(8) != kByteOrder)
      return search_behind(in, "a section with byte-order magic " + hex(in.be32(8)));
  }
  const uint32_t type = u32(in, 0), length = u32(in, 4);
  if (length < 12 || length % 4 || length > kMaxBlock)
    return search_behind(in, "a block of " + std::to_string(length) + " bytes");
  if (!in.has(length)) return Step::more;
  if (u32(in, length - 4) != length)
    return search_behind(in, "a block whose two lengths differ: " + std::to_string(length) +
                                 " and " + std::to_string(u32(in, length - 4)));
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
  interfaces_.clear();
  if (!body.has(16)) note("a section header that is too short");
  if (body.has(16) && u16(body, 4) != 1)
    return end("pcapng version " + std::to_string(u16(body, 4)) + ", of which only 1 is read");
  return Step::skipped;
}

Container::Step Container::interface(Bytes body) {
  Interface added;
  added.link = kNoLink;
  if (interfaces_.size() == kMaxInterfaces) {
    note("too many interfaces");
    return Step::skipped;
  }
  if (body.has(8)) {
    added.link = u16(body, 0);
    added.snap_length = u32(body, 4);
    options(added, body.from(8));
  } else {
    note("an interface description that is too short");
  }
  interfaces_.push_back(added);
  return Step::skipped;
}

void Container::options(Interface& to, Bytes rest) {
  while (rest.has(4) && u16(rest, 0)) {
    const size_t length = u16(rest, 2);
    if (!rest.has(4 + padded(length))) return note("an option longer than its block");
    option(to, u16(rest, 0), rest.from(4).first(length));
    rest = rest.from(4 + padded(length));
  }
}

void Container::option(Interface& to, uint16_t code, Bytes value) const {
  if (code == 9 && value.has(1)) to.resolution = value.u8(0);
  if (code == 14 && value.has(8)) to.offset_s = static_cast<int64_t>(u64(value, 0));
}

Container::Step Container::packet(Bytes body, bool enhanced, Record& record) {
  if (!body.has(20)) return drop("a packet block that is too short");
  const uint32_t index = enhanced ? u32(body, 0) : u16(body, 0), kept = u32(body, 12);
  if (index >= interfaces_.size())
    return drop("a packet of interface " + std::to_string(index) + ", which is not described");
  if (!body.from(20).has(kept)) return drop("a packet longer than its block");
  const Interface& from = interfaces_[index];
  const uint64_t units = uint64_t{u32(body, 4)} << 32 | u32(body, 8);
  if (!to_ns(from, units, record.time)) return drop("a packet with an impossible time");
  last_time_ = record.time;
  record.length = u32(body, 16);
  record.link = from.link;
  record.data = body.from(20).first(kept);
  return Step::record;
}

Container::Step Container::simple_packet(Bytes body, Record& record) {
  if (!body.has(4)) return drop("a packet block that is too short");
  if (interfaces_.empty()) return drop("a packet before any interface is described");
  const Interface& from = interfaces_[0];
  size_t kept = std::min<size_t>(u32(body, 0), body.size - 4);
  if (from.snap_length) kept = std::min<size_t>(kept, from.snap_length);
  record = {last_time_, u32(body, 0), from.link, body.from(4).first(kept)};
  ++untimed_;
  return Step::record;
}

// Whether another file begins here, as where several were written one after the other. A section
// of a pcapng within its file is none.
Container::Guess Container::file_begins(Bytes in, bool last) const {
  if (!in.has(4)) return Guess::no;
  const uint32_t little = in.le32(0);
  const bool section = little == kSection && kind_ != pcapng;
  const bool big = is_pcap(in.be32(0));
  if (!section && !big && !is_pcap(little)) return Guess::no;
  if (!in.has(24)) return last ? Guess::no : Guess::more;
  if (section) return in.le32(8) == kByteOrder || in.be32(8) == kByteOrder ? Guess::yes : Guess::no;
  // The version is 2 and the two fields behind it are 0: in a packet's header they are its length.
  const uint16_t version = big ? in.be16(4) : in.le16(4);
  return version == 2 && !in.le32(8) && !in.le32(12) ? Guess::yes : Guess::no;
}

// Takes what cannot be the beginning of a packet or block.
Container::Step Container::search(Bytes& in, bool last) {
  while (in.size) {
    Guess guess = file_begins(in, last);
    if (guess == Guess::no)
      guess = kind_ == pcap ? record_begins(in, last) : block_begins(in, last);
    if (guess == Guess::more) return Step::more;
    if (guess == Guess::yes) {
      searching_ = false;
      return Step::skipped;
    }
    take(in, 1);
    ++lost_;
  }
  return Step::more;
}

// A record header, and behind its packet another one or the end.
Container::Guess Container::record_begins(Bytes in, bool last) const {
  if (!in.has(head_)) return last ? Guess::no : Guess::more;
  if (!is_record_header(in)) return Guess::no;
  const size_t next = head_ + u32(in, 8);
  if (!in.has(next + head_)) {
    if (!last) return Guess::more;
    return in.has(next) ? Guess::yes : Guess::no;
  }
  return is_record_header(in.from(next)) ? Guess::yes : file_begins(in.from(next), last);
}

bool Container::is_record_header(Bytes in) const {
  return is_near(u32(in, 0)) && has_possible_fields(in);
}

bool Container::has_possible_fields(Bytes in) const {
  const uint32_t kept = u32(in, 8), length = u32(in, 12);
  return u32(in, 4) * unit_ns_ < kSecond && kept && kept <= kMaxPacket && kept <= length &&
         length <= kMaxBlock;
}

bool Container::is_near(int64_t seconds) const {
  if (first_s_ < 0) return seconds > kEarliest_s;
  return std::abs(seconds - first_s_) < kYear_s || std::abs(seconds - seconds_) < kYear_s;
}

// A block of a known type whose two lengths are alike.
Container::Guess Container::block_begins(Bytes in, bool last) const {
  if (!in.has(12)) return last ? Guess::no : Guess::more;
  const bool section = in.le32(0) == kSection;
  const bool big = section ? in.be32(8) == kByteOrder : big_;
  if (section && !big && in.le32(8) != kByteOrder) return Guess::no;
  if (!is_block(big ? in.be32(0) : in.le32(0))) return Guess::no;
  const uint32_t length = big ? in.be32(4) : in.le32(4);
  if (length < 12 || length % 4 || length > kMaxPacket + 1024) return Guess::no;
  if (!in.has(length)) return last ? Guess::no : Guess::more;
  const uint32_t again = big ? in.be32(length - 4) : in.le32(length - 4);
  return again == length ? Guess::yes : Guess::no;
}

void Container::note(const std::string& what) {
  ++damages_;
  if (!problem_.empty()) return;
  problem_ = what;
  problem_at_ = offset_;
}

Container::Step Container::drop(const std::string& what) {
  note(what);
  return Step::dropped;
}

Container::Step Container::search_behind(Bytes& in, const std::string& what) {
  note(what);
  if (kind_ == unknown || kind_ == snoop) return end(what);
  searching_ = true;
  take(in, 1);
  ++lost_;
  return Step::skipped;
}

Container::Step Container::end(const std::string& what) {
  if (problem_.empty()) note(what);
  ended_ = true;
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
