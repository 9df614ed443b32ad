// Which instruction set the CPU loops run on: found when the module loads, lowered by set_isa().
#pragma once

#include <atomic>

namespace netdiffus {

// Levels of x86-64 as the psABI names them; elsewhere there is the baseline alone.
enum class Isa { baseline, v3, v4 };

#if defined(__x86_64__) && defined(__GNUC__)
#define NETDIFFUS_HAS_LEVELS 1
// Features by name: the compilers that know arch=x86-64-v3 as a target are younger than C++17.
#define NETDIFFUS_V3 __attribute__((target("avx2,bmi,bmi2,fma,lzcnt,movbe,popcnt")))
#define NETDIFFUS_V4                                                           \
  __attribute__((                                                              \
      target("avx2,bmi,bmi2,fma,lzcnt,movbe,popcnt,avx512f,avx512bw,avx512cd," \
             "avx512dq,avx512vl")))
#endif

// The highest level of this processor.
inline Isa highest_isa() {
#ifdef NETDIFFUS_HAS_LEVELS
  __builtin_cpu_init();
  const bool v3 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi") &&
                  __builtin_cpu_supports("bmi2") && __builtin_cpu_supports("fma");
  const bool v4 = v3 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                  __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
                  __builtin_cpu_supports("avx512vl");
  return v4 ? Isa::v4 : v3 ? Isa::v3 : Isa::baseline;
#else
  return Isa::baseline;
#endif
}

inline std::atomic<Isa> current_isa{highest_isa()};

inline Isa isa() { return current_isa.load(std::memory_order_relaxed); }
inline void set_isa(Isa level) { current_isa.store(level, std::memory_order_relaxed); }

template <auto body>
struct Levels;

template <class... Arguments, void (*body)(Arguments...)>
struct Levels<body> {
#ifdef NETDIFFUS_HAS_LEVELS
  NETDIFFUS_V4 static void v4(Arguments... arguments) { body(arguments...); }
  NETDIFFUS_V3 static void v3(Arguments... arguments) { body(arguments...); }
#endif
  static void baseline(Arguments... arguments) { body(arguments...); }

  static void run(Arguments... arguments) {
#ifdef NETDIFFUS_HAS_LEVELS
    if (isa() == Isa::v4) return v4(arguments...);
    if (isa() == Isa::v3) return v3(arguments...);
#endif
    baseline(arguments...);
  }
};

// best<body>(...) runs the version of body that was compiled for the level in force. The body, and
// every function of ours it calls, is NETDIFFUS_FN: what is inlined takes the instruction set of
// its caller, what is not stays at the baseline. No OpenMP pragma and no lambda may stand inside,
// as both become functions of their own. Work enough per call hides the choice (about a
// nanosecond).
template <auto body>
constexpr auto* best = &Levels<body>::run;

}  // namespace netdiffus
