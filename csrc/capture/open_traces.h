// The traces that have not ended, found by a hash of their ends.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace netdiffus::capture {

// Open addressing with linear probing: 12 bytes a place, and no memory for each trace, of which a
// scan has millions.
template <class Trace>
class OpenTraces {
 public:
  // The trace of this hash for which `same` holds, or null.
  template <class Same>
  Trace* find(uint32_t hash, const Same& same) const {
    for (size_t at = hash & mask_; traces_[at]; at = (at + 1) & mask_)
      if (hashes_[at] == hash && same(*traces_[at])) return traces_[at];
    return nullptr;
  }

  void insert(uint32_t hash, Trace* trace) {
    if (4 * ++count_ > 3 * traces_.size()) grow();
    put(hash, trace);
  }

  // It must be there. Those behind it, up to the next gap, move to where they are found.
  void erase(uint32_t hash, const Trace* trace) {
    size_t gap = hash & mask_;
    while (traces_[gap] != trace) gap = (gap + 1) & mask_;
    for (size_t at = (gap + 1) & mask_; traces_[at]; at = (at + 1) & mask_) {
      if (((at - hashes_[at]) & mask_) < ((at - gap) & mask_)) continue;
      traces_[gap] = traces_[at];
      hashes_[gap] = hashes_[at];
      gap = at;
    }
    traces_[gap] = nullptr;
    --count_;
  }

 private:
  void put(uint32_t hash, Trace* trace) {
    size_t at = hash & mask_;
    while (traces_[at]) at = (at + 1) & mask_;
    traces_[at] = trace;
    hashes_[at] = hash;
  }

  void grow() {
    std::vector<Trace*> traces(2 * traces_.size());
    std::vector<uint32_t> hashes(traces.size());
    traces.swap(traces_);
    hashes.swap(hashes_);
    mask_ = traces_.size() - 1;
    for (size_t i = 0; i < traces.size(); ++i)
      if (traces[i]) put(hashes[i], traces[i]);
  }

  std::vector<Trace*> traces_ = std::vector<Trace*>(64);
  std::vector<uint32_t> hashes_ = std::vector<uint32_t>(64);
  size_t mask_ = 63, count_ = 0;
};

}  // namespace netdiffus::capture
