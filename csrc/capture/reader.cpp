#include "reader.h"

#include <algorithm>
#include <cstdio>

namespace netdiffus::capture {

// Copies only what a record that began in the bytes before takes of these.
void Reader::feed(Bytes bytes) {
  if (unsorted_) return;
  while (!rest_.empty() && bytes.size) {
    const size_t before = rest_.size(), added = std::min(bytes.size, std::max(before, kJoined));
    rest_.insert(rest_.end(), bytes.data, bytes.data + added);
    const size_t used = read({rest_.data(), rest_.size()}, false);
    if (used >= before) {
      bytes = bytes.from(used - before);
      rest_.clear();
    } else {
      bytes = bytes.from(added);
      rest_.erase(rest_.begin(), rest_.begin() + static_cast<std::ptrdiff_t>(used));
    }
  }
  if (!rest_.empty()) return;
  const size_t used = read(bytes, false);
  rest_.assign(bytes.data + used, bytes.data + bytes.size);
}

// The bytes used. `last`: no more come, so all of them.
size_t Reader::read(Bytes bytes, bool last) {
  Bytes left = bytes;
  Record record;
  for (;;) {
    const Container::Step step = container_.next(left, record, last);
    if (step == Container::Step::record) add(record);
    if (step == Container::Step::dropped) {
      ++packets_;
      count({Drop::damaged, 0});
    }
    const bool cut = step == Container::Step::more && last && left.size;
    if (cut) container_.cut_short(left);
    if (problem_.empty() && !container_.problem().empty()) {
      problem_ = container_.problem();
      before_ = packets_ - (step == Container::Step::dropped);
    }
    if (step == Container::Step::damaged) return bytes.size;
    if (step == Container::Step::more && !cut) return bytes.size - left.size;
  }
}

void Reader::next_file() {
  end_file();
  container_.next_file();
}

void Reader::end_file() {
  if (container_.started() && !unsorted_) read({rest_.data(), rest_.size()}, true);
  rest_.clear();
  if (problem_.empty() && !container_.started())
    problem_ = "no pcap or pcapng: the file is too short";
}

bool Reader::finish(size_t packets) {
  end_file();
  const auto take = [this](const Packet& packet) { pass_on(packet); };
  const bool more = sorter_ ? sorter_->drain(packets, take) : reorder_.drain(packets, take);
  add_passed();
  if (!more) traces_.finish();
  return more;
}

Batch Reader::take(size_t points) {
  Batch batch;
  traces_.take(points, batch);
  return batch;
}

void Reader::add(const Record& record) {
  ++packets_;
  Packet packet;
  Seen seen;
  const Verdict verdict = decode(record, reading_, packet, seen);
  if (verdict.why != Drop::none) return count(verdict);
  const bool wild = packet.origin == Origin::wild;  // those made here may well be alike
  const bool again = wild && duplicates_.again(seen.ip, seen.ip_size, record.time, reading_.dedup);
  if (again && reading_.dedup) return count({Drop::duplicate, 0});
  note(packet, seen, record);
  put_in_order(packet);
}

void Reader::note(const Packet& packet, const Seen& seen, const Record& record) {
  fragments_ += packet.fragment != Fragment::none;
  shortened_ += record.data.size < record.length;
  without_flags_ += seen.no_flags;
  in_tunnels_ += seen.in_tunnel;
  bare_ += seen.bare;
  if (packet.origin != Origin::wild) return;
  large_ += seen.ip_size > kUsual;
  largest_ = std::max(largest_, seen.ip_size);
}

void Reader::put_in_order(const Packet& packet) {
  reordered_ += packet.time < latest_;
  latest_ = std::max(latest_, packet.time);
  if (sorter_) return sorter_->push(packet);
  unsorted_ |= reorder_.too_late(packet);
  if (!unsorted_) reorder_.push(packet, [this](const Packet& next) { pass_on(next); });
}

void Reader::pass_on(const Packet& packet) {
  passed_.push_back(packet);
  if (passed_.size() == Traces::kTogether) add_passed();
}

void Reader::add_passed() {
  traces_.add(passed_.data(), passed_.size(), dropped_);
  passed_.clear();
}

void Reader::count(Verdict verdict) {
  if (verdict.why != Drop::none) ++dropped_[verdict];
}

namespace {

std::string link_type(uint32_t type) {
  const std::string number = std::to_string(type & ~kSnoopMedia);
  if (type & kSnoopMedia) return "snoop media type " + number + ", which is not read";
  const char* name = link_name(type);
  return "link type " + number + (name ? std::string(" (") + name + ")" : "") +
         ", which is not read; if IP follows a header of N bytes, make a capture that is read: "
         "editcap -C N -T rawip IN OUT";
}

const char* wifi(uint32_t detail) {
  return detail == kWifiEncrypted   ? "encrypted 802.11 frame; decrypt it first: airdecap-ng"
         : detail == kWifiAggregate ? "802.11 aggregate of several packets"
         : detail == kWifiFragment  ? "802.11 fragment without its first"
                                    : "802.11 frame without data";
}

}  // namespace

std::string describe(Verdict verdict) {
  char code[8];
  std::snprintf(code, sizeof code, "0x%04x", verdict.detail & 0xffff);
  switch (verdict.why) {
    case Drop::link_type:
      return link_type(verdict.detail);
    case Drop::not_ip:
      return verdict.detail == 0x0806  ? "not IP (ARP)"
             : verdict.detail < 0x0600 ? "not IP (no EtherType)"
                                       : std::string("not IP (EtherType ") + code + ")";
    case Drop::not_ip_ppp:
      return std::string("not IP (PPP protocol ") + code + ")";
    case Drop::wifi:
      return wifi(verdict.detail);
    case Drop::damaged:
      return "damaged packet block";
    case Drop::duplicate:
      return "duplicate: the same IP packet less than 10 ms before";
    case Drop::truncated:
      return "cut short within its headers";
    case Drop::bad_header:
      return "impossible header";
    case Drop::fragment:
      return "fragment without its datagram's first";
    case Drop::framing:
      return "framing of a synthetic capture";
    case Drop::no_host:
      return "neither address is a host";
    case Drop::beyond:
      return "after the last bin";
    case Drop::none:
      break;
  }
  return "";
}

}  // namespace netdiffus::capture
