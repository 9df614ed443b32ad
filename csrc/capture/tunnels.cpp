// RFC 2784 and 2890 (GRE), 2637 (PPTP), 7348 (VXLAN), 8926 (Geneve), 2661 (L2TP), 9300 (LISP), 7510
// (MPLS in UDP), 4023 (MPLS in IP), 3378 (EtherIP), 4380 (Teredo); draft-foschiano-erspan;
// 3GPP TS 29.281 (GTP-U); VXLAN-GPE: draft-ietf-nvo3-vxlan-gpe; TZSP as MikroTik sends it.
#include "tunnels.h"

#include "packet.h"

namespace netdiffus::capture {
namespace {

constexpr Inner kClosed = {Inner::closed, {nullptr, 0}, 0};

// What lies behind a header of so many bytes.
Inner behind(Inner::Kind kind, Bytes in, size_t header, uint16_t type = 0) {
  return in.has(header) ? Inner{kind, in.from(header), type} : kClosed;
}

Inner of_type(uint16_t type, Bytes in, size_t header) {
  return behind(type == kBridged ? Inner::ethernet : Inner::by_type, in, header, type);
}

Inner erspan(bool numbered, bool third, Bytes in) {
  if (!third) return behind(Inner::ethernet, in, numbered ? 8 : 0);  // type II, or I
  if (!in.has(12)) return kClosed;
  return behind(Inner::ethernet, in, in.u8(11) & 1 ? 20 : 12);
}

// Version 1, of PPTP: a key always; a number only where a packet follows.
Inner enhanced_gre(uint16_t flags, Bytes in) {
  return flags & 0x1000 ? behind(Inner::ppp, in, 12 + 4 * !!(flags & 0x80)) : kClosed;
}

Inner gre(Bytes in) {
  if (!in.has(4)) return kClosed;
  const uint16_t flags = in.be16(0), type = in.be16(2);
  if ((flags & 7) == 1 && type == 0x880b) return enhanced_gre(flags, in);
  if (flags & 0x4007) return kClosed;  // source routes, or a version that is not known
  const size_t header = 4 + 4 * (!!(flags & 0x8000) + !!(flags & 0x2000) + !!(flags & 0x1000));
  if (!in.has(header)) return kClosed;
  if (type == 0x88be || type == 0x22eb)
    return erspan(flags & 0x1000, type == 0x22eb, in.from(header));
  return of_type(type, in, header);
}

Inner vxlan(Bytes in) { return behind(Inner::ethernet, in, 8); }

Inner vxlan_gpe(Bytes in) {
  if (!in.has(8)) return kClosed;
  const uint8_t next = in.u8(3);
  if (next == 3) return behind(Inner::ethernet, in, 8);
  return next == 1 || next == 2 ? behind(Inner::ip, in, 8) : kClosed;
}

Inner geneve(Bytes in) {
  if (!in.has(8) || in.u8(0) >> 6) return kClosed;
  return of_type(in.be16(2), in, 8 + (in.u8(0) & 63) * 4u);
}

// Version 1, user data; extension headers end with the type of the next.
Inner gtp(Bytes in) {
  if (!in.has(8) || (in.u8(0) & 0xf0) != 0x30 || in.u8(1) != 255) return kClosed;
  size_t at = 8;
  if (in.u8(0) & 7) {
    at = 12;
    if (!in.has(at)) return kClosed;
    for (uint8_t next = in.u8(0) & 4 ? in.u8(11) : 0; next; next = in.u8(at - 1)) {
      if (!in.has(at + 1) || !in.u8(at) || !in.has(at + in.u8(at) * 4u)) return kClosed;
      at += in.u8(at) * 4u;
    }
  }
  return behind(Inner::ip, in, at);
}

// Tags up to the one that ends them; that and padding have no length.
Inner tzsp(Bytes in) {
  if (!in.has(5) || in.u8(0) != 1 || in.u8(1) > 1) return kClosed;
  const uint16_t carries = in.be16(2);
  size_t at = 4;
  while (in.has(at + 2) && in.u8(at) != 1) at += in.u8(at) == 0 ? 1 : 2 + in.u8(at + 1);
  if (!in.has(at + 1) || in.u8(at) != 1) return kClosed;
  if (carries == 0x12) return behind(Inner::wifi, in, at + 1);
  return carries == 1 ? behind(Inner::ethernet, in, at + 1) : kClosed;
}

Inner l2tp(Bytes in) {
  if (!in.has(8) || (in.be16(0) & 0x800f) != 2) return kClosed;  // control, or another version
  const uint16_t flags = in.be16(0);
  size_t header = 6 + 2 * !!(flags & 0x4000) + 4 * !!(flags & 0x0800);
  if (flags & 0x0200) {
    if (!in.has(header + 2)) return kClosed;
    header += 2 + in.be16(header);
  }
  return behind(Inner::ppp, in, header);
}

Inner teredo(Bytes in) {
  if (in.has(8) && in.be16(0) == 0) in = in.from(8);  // an origin
  return in.has(40) && in.u8(0) >> 4 == 6 ? Inner{Inner::ip, in, 0} : kClosed;
}

// By the ports that are assigned; `in` begins behind the UDP header.
Inner in_udp(uint16_t to, uint16_t from, Bytes in) {
  switch (to) {
    case 4789:
    case 8472:  // Linux, before the port was assigned
      return vxlan(in);
    case 4790:
      return vxlan_gpe(in);
    case 6081:
      return geneve(in);
    case 2152:
      return gtp(in);
    case 37008:
      return tzsp(in);
    case 1701:
      return l2tp(in);
    case 4754:
      return gre(in);
    case 4341:
      return behind(Inner::ip, in, 8);
    case 6635:
      return behind(Inner::by_type, in, 0, 0x8847);
    case 3544:
      return teredo(in);
    default:
      break;
  }
  if (from == 1701) return l2tp(in);
  return from == 3544 ? teredo(in) : Inner{};
}

}  // namespace

Inner inner_of(uint8_t protocol, Bytes in) {
  if (protocol == kTcp) return {};
  if (protocol == kUdp) return in.has(8) ? in_udp(in.be16(2), in.be16(0), in.from(8)) : Inner{};
  if (protocol == 4 || protocol == 41) return {Inner::ip, in, 0};
  if (protocol == 47) return gre(in);
  if (protocol == 97) return behind(Inner::ethernet, in, 2);
  if (protocol == 137) return {Inner::by_type, in, 0x8847};
  return {};
}

}  // namespace netdiffus::capture
