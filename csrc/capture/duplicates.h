// Packets that a capture holds twice, as those of mirror (SPAN) ports and of interface "any" do.
#pragma once

#include <algorithm>
#include <cstring>
#include <vector>

#include "bytes.h"

namespace netdiffus::capture {

// Remembers the latest packets by a hash of their bytes: four for each of kSets.
class Duplicates {
 public:
  static constexpr int64_t kWindow = 10'000'000;  // ns

  Duplicates() : sets_(kSets) {}

  // Whether the same IP packet came less than kWindow before. `whole`: all of its bytes count, not
  // those of its headers alone, whose numbers and checksums tell packets apart nearly as well.
  bool again(Bytes ip, uint32_t size, int64_t time, bool whole) {
    const uint64_t hash = hashed(whole ? ip : ip.first(std::min(ip.size, kHeaders)), size);
    Set& set = sets_[hash % kSets];
    for (Seen& seen : set.seen) {
      if (seen.hash != hash) continue;
      const bool near = time - seen.time < kWindow && seen.time - time < kWindow;
      seen.time = time;
      found_ += near;
      return near;
    }
    *std::min_element(set.seen, set.seen + kWays,
                      [](const Seen& a, const Seen& b) { return a.time < b.time; }) = {hash, time};
    return false;
  }

  uint64_t found() const { return found_; }

 private:
  static constexpr size_t kSets = 1 << 12, kWays = 4, kHeaders = 64;
  struct Seen {
    uint64_t hash;
    int64_t time;
  };
  struct alignas(64) Set {
    Seen seen[kWays];
  };

  static uint64_t mix(uint64_t h, uint64_t word) {
    h = (h ^ word) * 0x9e3779b97f4a7c15;
    return h ^ h >> 29;
  }

  static uint64_t word(Bytes in, size_t at, size_t count) {
    uint64_t value = 0;
    std::memcpy(&value, in.checked(at, count), count);
    return value;
  }

  // Two chains of mixing, as each waits for its own multiplication.
  static uint64_t hashed(Bytes in, uint32_t size) {
    uint64_t a = mix(size, in.size), b = 0x632be59bd9b4e019;
    size_t at = 0;
    for (; at + 16 <= in.size; at += 16) {
      a = mix(a, word(in, at, 8));
      b = mix(b, word(in, at + 8, 8));
    }
    for (; at < in.size; at += 8) a = mix(a, word(in, at, std::min<size_t>(8, in.size - at)));
    return mix(mix(a, b), 1);
  }

  std::vector<Set> sets_;
  uint64_t found_ = 0;
};

}  // namespace netdiffus::capture
