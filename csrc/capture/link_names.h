// Names of link types: www.tcpdump.org/linktypes.html.
#pragma once

#include <cstdint>

namespace netdiffus::capture {

// Null where the type has none.
const char* link_name(uint32_t type);

}  // namespace netdiffus::capture
