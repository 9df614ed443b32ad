// Packets in order of time, where the capture has them nearly so.
#pragma once

#include <algorithm>
#include <cstddef>
#include <limits>
#include <vector>

#include "packet.h"

namespace netdiffus::capture {

// Holds packets back until `capacity` more have come. A packet in order costs a copy; one out of
// order goes over a heap, so that no order of packets costs more than its logarithm.
class Reorder {
 public:
  explicit Reorder(size_t capacity) : ring_(capacity + 1) {}

  // Whether the packet comes before one that has already been passed on.
  bool too_late(const Packet& packet) const { return packet.time < passed_; }

  template <class Take>
  void push(const Packet& packet, Take&& take) {
    if (count_ && packet.time < back().time) {
      late_.push_back({packet, sequence_++});
      std::push_heap(late_.begin(), late_.end());
    } else {
      ring_[(head_ + count_++) % ring_.size()] = packet;
    }
    if (held() == ring_.size()) pop(take);
  }

  // Passes on up to `count` packets, once all have come; false: these were the last.
  template <class Take>
  bool drain(size_t count, Take&& take) {
    for (; count && held(); --count) pop(take);
    return held();
  }

 private:
  struct Late {
    Packet packet;
    uint64_t sequence;
    bool operator<(const Late& other) const {  // a heap's top is its largest
      return packet.time != other.packet.time ? packet.time > other.packet.time
                                              : sequence > other.sequence;
    }
  };

  size_t held() const { return count_ + late_.size(); }
  const Packet& back() const { return ring_[(head_ + count_ - 1) % ring_.size()]; }

  template <class Take>
  void pop(Take&& take) {
    if (late_.empty() || (count_ && ring_[head_].time <= late_.front().packet.time)) {
      passed_ = ring_[head_].time;
      take(ring_[head_]);
      head_ = (head_ + 1) % ring_.size();
      --count_;
    } else {
      std::pop_heap(late_.begin(), late_.end());
      passed_ = late_.back().packet.time;
      take(late_.back().packet);
      late_.pop_back();
    }
  }

  std::vector<Packet> ring_;
  size_t head_ = 0, count_ = 0;
  std::vector<Late> late_;
  uint64_t sequence_ = 0;
  int64_t passed_ = std::numeric_limits<int64_t>::min();
};

}  // namespace netdiffus::capture
