// A capture, fed in pieces, to its traces.
#pragma once

#include <limits>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "container.h"
#include "headers.h"
#include "reorder.h"
#include "sorter.h"
#include "traces.h"

namespace netdiffus::capture {

class Reader {
 public:
  // Packets are held back to put them in order, so many at a time. Where that is not enough,
  // unsorted() says so, and the capture is to be read anew by a reader that sorts.
  static constexpr size_t kWindow = 1 << 16;
  // Packets that are sorted at a time: 64 MiB of them.
  static constexpr size_t kRun = 1 << 20;

  Reader(const Reading& reading, const Rules& rules, size_t window = kWindow)
      : reading_(reading), reorder_(window), traces_(rules) {}
  Reader(const Reading& reading, const Rules& rules, Sorter sorter)
      : reading_(reading), reorder_(0), sorter_(std::move(sorter)), traces_(rules) {}

  // The next bytes of the file; those behind a damage are left alone.
  void feed(Bytes bytes);
  // No more bytes come. Goes on with up to `packets` of those held back; true: more are.
  bool finish(size_t packets);
  Batch take(size_t points);

  const std::string& problem() const { return problem_; }  // empty: none
  uint64_t problem_at() const { return problem_at_; }      // byte of the file
  bool started() const { return container_.started(); }
  uint64_t packets() const { return packets_; }
  bool unsorted() const { return unsorted_; }  // too much to be put in order on the way
  uint64_t reordered() const { return reordered_; }
  uint64_t untimed() const { return container_.untimed(); }
  uint64_t fragments() const { return fragments_; }
  uint64_t shortened() const { return shortened_; }
  const std::map<Verdict, uint64_t>& dropped() const { return dropped_; }

 private:
  void add(const Record& record);
  void put_in_order(const Packet& packet);
  void count(Verdict verdict);
  size_t read(Bytes bytes);

  Reading reading_;
  Container container_;
  Reorder reorder_;
  std::optional<Sorter> sorter_;
  Traces traces_;
  std::vector<uint8_t> rest_;  // the beginning of a record whose end has not come
  std::string problem_;
  bool unsorted_ = false;
  int64_t latest_ = std::numeric_limits<int64_t>::min();
  uint64_t problem_at_ = 0, packets_ = 0, fragments_ = 0, shortened_ = 0, reordered_ = 0;
  std::map<Verdict, uint64_t> dropped_;
};

// The reason in words.
std::string describe(Verdict verdict);

}  // namespace netdiffus::capture
