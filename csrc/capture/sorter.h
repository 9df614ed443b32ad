// Any number of packets in order of time, in bounded memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "packet.h"

namespace netdiffus::capture {

// Packets are sorted `capacity` at a time, and these runs, which lie in a file, are merged. Packets
// of one time stay in the order in which they came.
class Sorter {
 public:
  // `file`: a descriptor, empty, to read and write; throws std::system_error where that fails.
  Sorter(int file, size_t capacity) : file_(file), capacity_(capacity) {}

  void push(const Packet& packet);

  // Passes on up to `count` packets, once all have come; false: these were the last.
  template <class Take>
  bool drain(size_t count, Take&& take) {
    if (!merging_) merge();
    for (; count && !heads_.empty(); --count) take(next());
    return !heads_.empty();
  }

 private:
  struct Run {
    uint64_t at, left;  // in the file, in packets: what has not been read
    std::vector<Packet> front;
    size_t used = 0;  // of the front
  };

  void write_run();
  void merge();
  bool fill(Run& run) const;
  Packet next();
  bool after(size_t a, size_t b) const;

  int file_;
  size_t capacity_;
  std::vector<Packet> held_;
  std::vector<Run> runs_;
  std::vector<size_t> heads_;  // heap of runs that have packets left, the earliest on top
  uint64_t written_ = 0;
  bool merging_ = false;
};

}  // namespace netdiffus::capture
