#include "sorter.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <system_error>
#include <type_traits>

namespace netdiffus::capture {
namespace {

static_assert(std::is_trivially_copyable_v<Packet>);

// Reads or writes all of the bytes; `move` is pread or pwrite.
template <class Move, class Byte>
void transfer(Move move, int file, Byte* data, size_t size, uint64_t at) {
  while (size) {
    const ssize_t moved = move(file, data, size, static_cast<off_t>(at));
    if (moved < 0 && errno == EINTR) continue;
    if (moved <= 0)
      throw std::system_error(moved ? errno : EIO, std::generic_category(),
                              "the temporary file that a capture is sorted in");
    data += moved;
    size -= static_cast<size_t>(moved);
    at += static_cast<uint64_t>(moved);
  }
}

}  // namespace

void Sorter::push(const Packet& packet) {
  held_.push_back(packet);
  if (held_.size() == capacity_) write_run();
}

void Sorter::write_run() {
  std::stable_sort(held_.begin(), held_.end(),
                   [](const Packet& a, const Packet& b) { return a.time < b.time; });
  transfer(pwrite, file_, reinterpret_cast<const uint8_t*>(held_.data()),
           held_.size() * sizeof(Packet), written_ * sizeof(Packet));
  runs_.push_back({written_, held_.size(), {}});
  written_ += held_.size();
  held_.clear();
}

void Sorter::merge() {
  merging_ = true;
  if (!held_.empty()) write_run();
  held_.shrink_to_fit();  // its memory goes to the fronts of the runs
  for (size_t run = 0; run < runs_.size(); ++run)
    if (fill(runs_[run])) heads_.push_back(run);
  const auto order = [this](size_t a, size_t b) { return after(a, b); };
  std::make_heap(heads_.begin(), heads_.end(), order);
}

// The next packets of the run, where it has any.
bool Sorter::fill(Run& run) const {
  const size_t share = std::max<size_t>(1, capacity_ / runs_.size());
  run.front.resize(std::min<uint64_t>(share, run.left));
  run.used = 0;
  transfer(pread, file_, reinterpret_cast<uint8_t*>(run.front.data()),
           run.front.size() * sizeof(Packet), run.at * sizeof(Packet));
  run.at += run.front.size();
  run.left -= run.front.size();
  return !run.front.empty();
}

Packet Sorter::next() {
  const auto order = [this](size_t a, size_t b) { return after(a, b); };
  std::pop_heap(heads_.begin(), heads_.end(), order);
  Run& run = runs_[heads_.back()];
  const Packet packet = run.front[run.used++];
  if (run.used < run.front.size() || fill(run))
    std::push_heap(heads_.begin(), heads_.end(), order);
  else
    heads_.pop_back();
  return packet;
}

// Whether run a's next packet comes after that of run b.
bool Sorter::after(size_t a, size_t b) const {
  const int64_t first = runs_[a].front[runs_[a].used].time;
  const int64_t second = runs_[b].front[runs_[b].used].time;
  return first != second ? first > second : a > b;
}

}  // namespace netdiffus::capture
