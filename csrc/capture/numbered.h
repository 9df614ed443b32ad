// A queue whose items have numbers and stay where they are.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <utility>

namespace netdiffus::capture {

// Items lie in chunks, and an item is found by its number in two steps. Numbers go up from 0; their
// lower 32 bits name an item, as never so many are held at a time.
template <class Item>
class Numbered {
 public:
  bool empty() const { return first_ == end_; }
  uint64_t first() const { return first_; }
  uint64_t end() const { return end_; }  // the number that the next item gets
  Item& front() { return (*this)[static_cast<uint32_t>(first_)]; }

  Item& operator[](uint32_t number) const {
    const uint64_t at = first_ % kChunk + (number - static_cast<uint32_t>(first_));
    return chunks_[at / kChunk][at % kChunk];
  }

  Item& push_back(Item&& item) {
    if (end_ % kChunk == 0) chunks_.push_back(std::make_unique<Item[]>(kChunk));
    return (*this)[static_cast<uint32_t>(end_++)] = std::move(item);
  }

  void pop_front() {
    front() = Item();  // which frees its memory
    if (++first_ % kChunk == 0) chunks_.pop_front();
  }

 private:
  static constexpr uint64_t kChunk = 1 << 10;

  std::deque<std::unique_ptr<Item[]>> chunks_;
  uint64_t first_ = 0, end_ = 0;
};

}  // namespace netdiffus::capture
