// A capture, fed in pieces, to its traces.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "container.h"
#include "headers.h"
#include "reorder.h"
#include "traces.h"

namespace netdiffus::capture {

class Reader {
 public:
  // Packets are held back to put them in order, so many at a time.
  static constexpr size_t kWindow = 1 << 16;

  Reader(const Reading& reading, const Rules& rules, size_t window = kWindow)
      : reading_(reading), reorder_(window), traces_(rules) {}

  // The next bytes of the file; those behind a damage are left alone.
  void feed(Bytes bytes);
  // No more bytes come.
  void finish();
  Batch take(size_t points);

  const std::string& problem() const { return problem_; }  // empty: none
  uint64_t problem_at() const { return problem_at_; }      // byte of the file
  bool started() const { return container_.started(); }
  uint64_t packets() const { return packets_; }
  uint64_t reordered() const { return reorder_.reordered(); }
  uint64_t untimed() const { return container_.untimed(); }
  uint64_t fragments() const { return fragments_; }
  uint64_t shortened() const { return shortened_; }
  uint64_t late() const { return late_; }  // of those dropped: too late to be put in order
  const std::map<Verdict, uint64_t>& dropped() const { return dropped_; }

 private:
  void add(const Record& record);
  void count(Verdict verdict);
  size_t read(Bytes bytes);

  Reading reading_;
  Container container_;
  Reorder reorder_;
  Traces traces_;
  std::vector<uint8_t> rest_;  // the beginning of a record whose end has not come
  std::string problem_;
  uint64_t problem_at_ = 0, packets_ = 0, fragments_ = 0, shortened_ = 0, late_ = 0;
  std::map<Verdict, uint64_t> dropped_;
};

// The reason in words.
std::string describe(Verdict verdict);

}  // namespace netdiffus::capture
