// From a recorded frame to addresses, ports and sizes.
#pragma once

#include "container.h"
#include "packet.h"

namespace netdiffus::capture {

// Whole IP packets, whole frames, or what the transport carries.
enum class Size { ip, wire, payload };

struct Reading {
  Size size;
  bool tunnels;  // count packets in tunnels by the inner one
  bool dedup;    // leave out packets that come twice
};

// What deserves a word about a packet that was kept.
struct Seen {
  Bytes ip = {nullptr, 0};  // the packet that counts, as far as it was captured
  uint32_t ip_size = 0;
  bool no_flags = false;   // of TCP, whose header is cut
  bool in_tunnel = false;  // it holds another packet, but counts by its own header
  bool bare = false;       // an IP packet where a frame should be
};

// Fills `packet` and `seen`, unless the verdict is another than kKept.
Verdict decode(const Record& record, const Reading& reading, Packet& packet, Seen& seen);

}  // namespace netdiffus::capture
