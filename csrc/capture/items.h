// A growing array in 16 bytes.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <new>
#include <type_traits>
#include <utility>

namespace netdiffus::capture {

// A vector for the many traces that have few items or none. Its owner knows the type of the items,
// which must be the same in every call.
class Items {
 public:
  Items() = default;
  Items(Items&& other) noexcept { swap(other); }
  Items& operator=(Items&& other) noexcept {
    Items(std::move(other)).swap(*this);
    return *this;
  }
  ~Items() { std::free(data_); }

  bool empty() const { return !count_; }
  size_t size() const { return count_; }

  template <class Item>
  const Item* begin() const {
    return static_cast<const Item*>(data_);
  }

  template <class Item>
  Item* end() const {
    return static_cast<Item*>(data_) + count_;
  }

  template <class Item>
  void push_back(const Item& item) {
    static_assert(std::is_trivially_copyable_v<Item>);
    if (count_ == room_) grow(sizeof item);
    *end<Item>() = item;
    ++count_;
  }

 private:
  void grow(size_t size) {
    const uint32_t room = room_ ? 2 * room_ : 4;
    void* more = room > room_ ? std::realloc(data_, room * size) : nullptr;
    if (!more) throw std::bad_alloc();
    data_ = more;
    room_ = room;
  }

  void swap(Items& other) {
    std::swap(data_, other.data_);
    std::swap(count_, other.count_);
    std::swap(room_, other.room_);
  }

  void* data_ = nullptr;
  uint32_t count_ = 0, room_ = 0;
};

}  // namespace netdiffus::capture
