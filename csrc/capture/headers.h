// From a recorded frame to addresses, ports and sizes.
#pragma once

#include "container.h"
#include "packet.h"

namespace netdiffus::capture {

// Whole IP packets, whole frames, or what the transport carries.
enum class Size { ip, wire, payload };

struct Reading {
  Size size;
  bool tunnels;  // count packets in GRE, VXLAN and IP-in-IP by the inner one
};

// Fills `packet`, unless the verdict is another than kKept.
Verdict decode(const Record& record, const Reading& reading, Packet& packet);

}  // namespace netdiffus::capture
