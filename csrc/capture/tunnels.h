// What a packet carries, where it is a tunnel's.
#pragma once

#include "bytes.h"

namespace netdiffus::capture {

enum EtherType : uint16_t { kIPv4 = 0x0800, kIPv6 = 0x86dd, kBridged = 0x6558 };

struct Inner {
  // none: no tunnel. closed: one that is not opened.
  enum Kind { none, ip, ethernet, ppp, wifi, by_type, closed };
  Kind kind = none;
  Bytes data = {nullptr, 0};
  uint16_t type = 0;  // EtherType
};

// `in`: what the IP header with this protocol carries.
Inner inner_of(uint8_t protocol, Bytes in);

}  // namespace netdiffus::capture
