// Sixteen bytes of storage at a time, computed with as float.
#pragma once

#include <cstdint>
#include <cstring>

#include "formulas.h"

#ifdef __CUDACC__
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#endif

namespace netdiffus {

constexpr int kThreads = 256, kLanes = 32, kWarps = kThreads / kLanes;
constexpr int kBlocks = 6;  // at once on a multiprocessor: three quarters of the threads of sm_80

// Values that one 128-bit access moves.
template <class T>
constexpr int kGroup = 16 / sizeof(T);

// So many values as stored, two halves to a word: they cost as few registers as they do bytes.
template <class T>
struct Group {
  uint32_t word[4];
};

NETDIFFUS_FN float wide(float v) { return v; }
NETDIFFUS_FN float wide(__half v) { return __half2float(v); }
NETDIFFUS_FN float wide(__nv_bfloat16 v) { return __bfloat162float(v); }

NETDIFFUS_FN void narrow(float v, float& to) { to = v; }
NETDIFFUS_FN void narrow(float v, __half& to) { to = __float2half_rn(v); }
NETDIFFUS_FN void narrow(float v, __nv_bfloat16& to) { to = __float2bfloat16_rn(v); }

template <class To, class From>
NETDIFFUS_FN To same_bits(From from) {
  static_assert(sizeof(To) == sizeof(From), "bits are moved, not converted");
  To to;
  memcpy(&to, &from, sizeof(To));
  return to;
}

// The unsigned integer as wide as T.
template <class T>
struct Bits;
template <>
struct Bits<float> {
  using type = uint32_t;
};
template <>
struct Bits<__half> {
  using type = uint16_t;
};
template <>
struct Bits<__nv_bfloat16> {
  using type = uint16_t;
};

template <class T>
NETDIFFUS_FN T stored(const Group<T>& group, int l) {
  constexpr int kIn = 4 / sizeof(T);  // values to a word
  return same_bits<T>(static_cast<typename Bits<T>::type>(group.word[l / kIn] >> l % kIn * 16));
}

template <class T>
NETDIFFUS_FN void put(T v, Group<T>& group, int l) {
  constexpr int kIn = 4 / sizeof(T);
  const uint32_t bits = uint32_t{same_bits<typename Bits<T>::type>(v)} << l % kIn * 16;
  group.word[l / kIn] = l % kIn ? group.word[l / kIn] | bits : bits;
}

template <class T>
NETDIFFUS_FN float value(const Group<T>& group, int l) {
  return wide(stored(group, l));
}

// In ascending order of l, as the first value of a word replaces the whole word.
template <class T>
NETDIFFUS_FN void set(float v, Group<T>& group, int l) {
  T rounded;
  narrow(v, rounded);
  put(rounded, group, l);
}

// Up to kGroup values: all at once where `whole` says that address and number allow it.
template <class T>
NETDIFFUS_FN Group<T> load(const T* from, int used, bool whole) {
  Group<T> group;
  if (whole) {  // CUDA's own vector, as a structure may be moved word by word
    const uint4 words = *reinterpret_cast<const uint4*>(from);
    group.word[0] = words.x, group.word[1] = words.y;
    group.word[2] = words.z, group.word[3] = words.w;
    return group;
  }
#pragma unroll
  for (int l = 0; l < kGroup<T>; ++l) put(from[l < used ? l : 0], group, l);
  return group;
}

template <class T>
NETDIFFUS_FN void store(const Group<T>& group, int used, bool whole, T* to) {
  if (whole) {
    const uint4 words{group.word[0], group.word[1], group.word[2], group.word[3]};
#ifdef __CUDA_ARCH__
    __stwb(reinterpret_cast<uint4*>(to), words);  // an ordinary store, but never split into words
#else
    *reinterpret_cast<uint4*>(to) = words;
#endif
    return;
  }
#pragma unroll
  for (int l = 0; l < kGroup<T>; ++l)
    if (l < used) to[l] = stored(group, l);
}

}  // namespace netdiffus
