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
      ++reordered_;
    } else {
      ring_[(head_ + count_++) % ring_.size()] = packet;
    }
    if (count_ + late_.size() == ring_.size()) pop(take);
  }

  template <class Take>
  void drain(Take&& take) {
    while (count_ + late_.size()) pop(take);
  }

  uint64_t reordered() const { return reordered_; }

 private:
  struct Late {
    Packet packet;
    uint64_t sequence;
    bool operator<(const Late& other) const {  // a heap's top is its largest
      return packet.time != other.packet.time ? packet.time > other.packet.time
                                              : sequence > other.sequence;
    }
  };

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
  uint64_t sequence_ = 0, reordered_ = 0;
  int64_t passed_ = std::numeric_limits<int64_t>::min();
};

}  // namespace netdiffus::capture
