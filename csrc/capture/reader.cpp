#include "reader.h"

#include <algorithm>
#include <cstdio>

namespace netdiffus::capture {

void Reader::feed(Bytes bytes) {
  if (!problem_.empty() || unsorted_) return;
  rest_.insert(rest_.end(), bytes.data, bytes.data + bytes.size);
  const size_t used = read({rest_.data(), rest_.size()});
  rest_.erase(rest_.begin(), rest_.begin() + static_cast<std::ptrdiff_t>(used));
}

size_t Reader::read(Bytes bytes) {
  Bytes left = bytes;
  Record record;
  for (;;) {
    const Container::Step step = container_.next(left, record);
    if (step == Container::Step::more) break;
    if (step == Container::Step::record) add(record);
    if (step == Container::Step::damaged) {
      problem_ = container_.problem();
      problem_at_ = container_.offset();
      return bytes.size;
    }
  }
  return bytes.size - left.size;
}

bool Reader::finish(size_t packets) {
  if (problem_.empty() && (!rest_.empty() || !container_.started())) {
    problem_ = container_.started() ? "the file ends within a packet or block, " +
                                          std::to_string(rest_.size()) + " bytes after its start"
                                    : "no pcap or pcapng: the file is too short";
    problem_at_ = container_.offset();
  }
  const auto take = [this](const Packet& packet) { count(traces_.add(packet)); };
  const bool more = sorter_ ? sorter_->drain(packets, take) : reorder_.drain(packets, take);
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
  const Verdict verdict = decode(record, reading_, packet);
  if (verdict.why != Drop::none) return count(verdict);
  fragments_ += packet.fragment != Fragment::none;
  shortened_ += record.data.size < record.length;
  put_in_order(packet);
}

void Reader::put_in_order(const Packet& packet) {
  reordered_ += packet.time < latest_;
  latest_ = std::max(latest_, packet.time);
  if (sorter_) return sorter_->push(packet);
  unsorted_ |= reorder_.too_late(packet);
  if (!unsorted_) reorder_.push(packet, [this](const Packet& next) { count(traces_.add(next)); });
}

void Reader::count(Verdict verdict) {
  if (verdict.why != Drop::none) ++dropped_[verdict];
}

std::string describe(Verdict verdict) {
  char code[8];
  std::snprintf(code, sizeof code, "0x%04x", verdict.detail & 0xffff);
  switch (verdict.why) {
    case Drop::link_type:
      return "link type " + std::to_string(verdict.detail) + ", which is not read";
    case Drop::not_ip:
      return verdict.detail == 0x0806  ? "not IP (ARP)"
             : verdict.detail < 0x0600 ? "not IP (no EtherType)"
                                       : std::string("not IP (EtherType ") + code + ")";
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
