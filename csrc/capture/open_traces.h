// The traces that have not ended, found by a hash of their ends.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "prefetch.h"

namespace netdiffus::capture {

// Open addressing with linear probing. A place is 8 bytes, so that a look at it costs one line of
// cache, and there is no memory for each trace, of which a scan has millions.
class OpenTraces {
 public:
  static constexpr uint32_t kNone = 0xffffffff;

  void prefetch(uint32_t hash) const { capture::prefetch(&places_[hash & mask_]); }

  // The number of the trace of this hash for which `same` holds, or kNone.
  template <class Same>
  uint32_t find(uint32_t hash, const Same& same) const {
    hash |= kTaken;
    for (size_t at = hash & mask_; places_[at].hash; at = (at + 1) & mask_)
      if (places_[at].hash == hash && same(places_[at].number)) return places_[at].number;
    return kNone;
  }

  void insert(uint32_t hash, uint32_t number) {
    if (4 * ++count_ > 3 * places_.size()) grow();
    put({hash | kTaken, number});
  }

  // It must be there. Those behind it, up to the next gap, move to where they are found.
  void erase(uint32_t hash, uint32_t number) {
    size_t gap = hash & mask_;
    while (places_[gap].number != number || !places_[gap].hash) gap = (gap + 1) & mask_;
    for (size_t at = (gap + 1) & mask_; places_[at].hash; at = (at + 1) & mask_) {
      if (((at - places_[at].hash) & mask_) < ((at - gap) & mask_)) continue;
      places_[gap] = places_[at];
      gap = at;
    }
    places_[gap] = {};
    --count_;
  }

 private:
  static constexpr uint32_t kTaken = 1u << 31;  // of every hash here; the mask has fewer bits
  struct Place {
    uint32_t hash = 0, number = 0;  // hash 0: empty
  };

  void put(Place place) {
    size_t at = place.hash & mask_;
    while (places_[at].hash) at = (at + 1) & mask_;
    places_[at] = place;
  }

  void grow() {
    std::vector<Place> places(2 * places_.size());
    places.swap(places_);
    mask_ = places_.size() - 1;
    for (const Place& place : places)
      if (place.hash) put(place);
  }

  std::vector<Place> places_ = std::vector<Place>(64);
  size_t mask_ = 63, count_ = 0;
};

}  // namespace netdiffus::capture
