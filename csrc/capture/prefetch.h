// Memory that is soon needed, asked for before.
#pragma once

#include <cstddef>

namespace netdiffus::capture {

// The empty statement stays: without it GCC takes these for functions without any effect, and
// deletes their calls.
inline void prefetch(const void* at) {
  __builtin_prefetch(at, 1);
  asm volatile("");
}

// All lines of cache that so many bytes are in.
inline void prefetch(const void* at, size_t size) {
  for (size_t byte = 0; byte < size; byte += 64) prefetch(static_cast<const char*>(at) + byte);
  prefetch(static_cast<const char*>(at) + size - 1);
}

}  // namespace netdiffus::capture
