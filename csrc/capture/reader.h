// A capture, fed in pieces, to its traces.
#pragma once

#include <limits>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "container.h"
#include "duplicates.h"
#include "headers.h"
#include "link_names.h"
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
  static constexpr size_t kJoined = 4096;   // bytes added at a time to a record that is cut
  static constexpr uint32_t kUsual = 1500;  // bytes of an IP packet in Ethernet

  Reader(const Reading& reading, const Rules& rules, size_t window = kWindow)
      : reading_(reading), reorder_(window), traces_(rules) {}
  Reader(const Reading& reading, const Rules& rules, Sorter sorter)
      : reading_(reading), reorder_(0), sorter_(std::move(sorter)), traces_(rules) {}

  // The next bytes of the file.
  void feed(Bytes bytes);
  // The bytes to come are those of the next file, in which flows go on.
  void next_file();
  // No more bytes come. Goes on with up to `packets` of those held back; true: more are.
  bool finish(size_t packets);
  Batch take(size_t points);

  const std::string& problem() const { return problem_; }  // the first; empty: none
  uint64_t problem_at() const { return container_.problem_at(); }
  uint64_t damages() const { return container_.damages(); }
  uint64_t lost() const { return container_.lost(); }  // bytes
  uint64_t packets_before() const { return before_; }  // the first damage
  uint64_t files() const { return container_.files(); }
  bool started() const { return container_.started(); }
  uint64_t packets() const { return packets_; }
  bool unsorted() const { return unsorted_; }  // too much to be put in order on the way
  uint64_t reordered() const { return reordered_; }
  uint64_t beyond() const { return container_.beyond(); }
  uint64_t untimed() const { return container_.untimed(); }
  uint64_t fragments() const { return fragments_; }
  uint64_t shortened() const { return shortened_; }
  uint64_t without_flags() const { return without_flags_; }
  uint64_t in_tunnels() const { return in_tunnels_; }  // counted by the outer header
  uint64_t bare() const { return bare_; }              // no frames, but IP packets
  uint64_t duplicates() const { return duplicates_.found(); }
  uint64_t large() const { return large_; }  // IP packets above kUsual bytes
  uint32_t largest() const { return largest_; }
  uint64_t reused() const { return traces_.reused(); }
  uint64_t turned() const { return traces_.turned(); }
  uint64_t to_turn() const { return traces_.to_turn(); }
  const std::map<Verdict, uint64_t>& dropped() const { return dropped_; }

 private:
  void add(const Record& record);
  void put_in_order(const Packet& packet);
  void pass_on(const Packet& packet);
  void add_passed();
  void count(Verdict verdict);
  void note(const Packet& packet, const Seen& seen, const Record& record);
  size_t read(Bytes bytes, bool last);
  void end_file();

  Reading reading_;
  Container container_;
  Reorder reorder_;
  std::optional<Sorter> sorter_;
  Duplicates duplicates_;
  Traces traces_;
  std::vector<Packet> passed_;  // in order, and about to be added to traces
  std::vector<uint8_t> rest_;   // the beginning of a record whose end has not come
  std::string problem_;
  bool unsorted_ = false;
  int64_t latest_ = std::numeric_limits<int64_t>::min();
  uint64_t before_ = 0, packets_ = 0, fragments_ = 0, shortened_ = 0, reordered_ = 0;
  uint64_t without_flags_ = 0, in_tunnels_ = 0, bare_ = 0, large_ = 0;
  uint32_t largest_ = 0;
  std::map<Verdict, uint64_t> dropped_;
};

// The reason in words.
std::string describe(Verdict verdict);

}  // namespace netdiffus::capture
