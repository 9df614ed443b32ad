// A run of bytes that is never read past its end.
#pragma once

#include <cassert>
#include <cstddef>
#include <cstdint>

namespace netdiffus::capture {

// The caller asks has() first; builds without NDEBUG check that it did.
struct Bytes {
  const uint8_t* data;
  size_t size;

  bool has(size_t count) const { return size >= count; }
  Bytes from(size_t at) const { return {checked(at, 0), size - at}; }
  Bytes first(size_t count) const { return {checked(0, count), count}; }
  uint8_t u8(size_t at) const { return *checked(at, 1); }
  uint16_t be16(size_t at) const { return static_cast<uint16_t>(u8(at) << 8 | u8(at + 1)); }
  uint32_t be32(size_t at) const { return uint32_t{be16(at)} << 16 | be16(at + 2); }
  uint16_t le16(size_t at) const { return static_cast<uint16_t>(u8(at + 1) << 8 | u8(at)); }
  uint32_t le32(size_t at) const { return uint32_t{le16(at + 2)} << 16 | le16(at); }

  const uint8_t* checked(size_t at, [[maybe_unused]] size_t count) const {
    assert(at <= size && count <= size - at);
    return data + at;
  }
};

}  // namespace netdiffus::capture
