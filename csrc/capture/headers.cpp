// Link types: www.tcpdump.org/linktypes.html. Headers: RFC 791, 8200, 9293, 768, 2516 (PPPoE), 3032
// (MPLS), 2784 and 2890 (GRE), 7348 (VXLAN), 4302 (AH), 3828 (UDP-Lite), 4340 (DCCP).
#include "headers.h"

#include <algorithm>

namespace netdiffus::capture {
namespace {

enum EtherType : uint16_t { kIPv4 = 0x0800, kIPv6 = 0x86dd, kBridged = 0x6558 };

constexpr Verdict kTruncated = {Drop::truncated, 0}, kBad = {Drop::bad_header, 0};
constexpr int kMaxTunnels = 8;
constexpr uint8_t kDccp = 33, kAuthentication = 51, kNothing = 59, kSctp = 132, kUdpLite = 136;
constexpr uint8_t kMadeBy[4] = {0x02, 'n', 'd', 'f'};

// Reads one frame; nested packets start over with internet().
class Decoder {
 public:
  Decoder(const Record& record, const Reading& reading, Packet& packet)
      : record_(record), reading_(reading), packet_(packet) {}

  Verdict frame();

 private:
  Verdict ethernet(Bytes in);
  Verdict by_type(uint16_t type, Bytes in);
  Verdict pppoe(Bytes in);
  Verdict mpls(Bytes in);
  Verdict family(uint32_t number, Bytes in);
  Verdict internet(Bytes in);
  Verdict internet4(Bytes in);
  Verdict internet6(Bytes in);
  Verdict extensions(uint8_t protocol, Bytes in, uint32_t left);
  Verdict transport(uint8_t protocol, Bytes in, uint32_t left);
  Verdict ports(uint8_t protocol, Bytes in, uint32_t left);
  Verdict gre(Bytes in);
  Verdict sized(uint32_t payload);
  void origin(Bytes ethernet);
  // How much of the frame was on the wire from here on.
  uint32_t left(Bytes in) const {
    const size_t before = static_cast<size_t>(in.data - record_.data.data);
    return static_cast<uint32_t>(record_.length > before ? record_.length - before : 0);
  }

  const Record& record_;
  const Reading& reading_;
  Packet& packet_;
  uint32_t ip_size_ = 0;
  int depth_ = 0;
};

Verdict Decoder::frame() {
  packet_ = {};
  packet_.time = record_.time;
  const Bytes in = record_.data;
  switch (record_.link) {
    case 0:  // NULL: in the byte order of the machine that captured
      return in.has(4) ? family(in.le32(0) < in.be32(0) ? in.le32(0) : in.be32(0), in.from(4))
                       : kTruncated;
    case 108:  // LOOP
      return in.has(4) ? family(in.be32(0), in.from(4)) : kTruncated;
    case 1:
      origin(in);
      return ethernet(in);
    case 12:
    case 14:
    case 101:  // RAW, and what it is called in files of some systems
    case 228:
    case 229:
      return internet(in);
    case 113:  // LINUX_SLL
      return in.has(16) ? by_type(in.be16(14), in.from(16)) : kTruncated;
    case 276:  // LINUX_SLL2
      return in.has(20) ? by_type(in.be16(0), in.from(20)) : kTruncated;
    default:
      return {Drop::link_type, record_.link};
  }
}

Verdict Decoder::ethernet(Bytes in) {
  return in.has(14) ? by_type(in.be16(12), in.from(14)) : kTruncated;
}

void Decoder::origin(Bytes ethernet) {
  if (!ethernet.has(12) || !std::equal(kMadeBy, kMadeBy + 4, ethernet.checked(6, 4))) return;
  const uint8_t kind = ethernet.u8(10), end = ethernet.u8(11);
  if (kind > 1 || (end != 1 && end != 2)) return;
  packet_.origin = end == 1 ? Origin::client : Origin::server;
  packet_.framing = kind == 1;
}

Verdict Decoder::by_type(uint16_t type, Bytes in) {
  while (type == 0x8100 || type == 0x88a8 || type == 0x9100) {  // VLAN tags
    if (!in.has(4)) return kTruncated;
    type = in.be16(2);
    in = in.from(4);
  }
  switch (type) {
    case kIPv4:
    case kIPv6:
      return internet(in);
    case 0x8864:
      return pppoe(in);
    case 0x8847:
    case 0x8848:
      return mpls(in);
    default:
      return {Drop::not_ip, type};
  }
}

Verdict Decoder::pppoe(Bytes in) {
  if (!in.has(8)) return kTruncated;
  const uint16_t protocol = in.be16(6);
  if (protocol == 0x0021 || protocol == 0x0057) return internet(in.from(8));
  return {Drop::not_ip, 0x8864};
}

Verdict Decoder::mpls(Bytes in) {
  for (bool bottom = false; !bottom; in = in.from(4)) {
    if (!in.has(4)) return kTruncated;
    bottom = in.u8(2) & 1;
  }
  if (!in.has(1)) return kTruncated;
  const int version = in.u8(0) >> 4;  // the labels do not say what they carry
  return version == 4 || version == 6 ? internet(in) : Verdict{Drop::not_ip, 0x8847};
}

Verdict Decoder::family(uint32_t number, Bytes in) {
  const bool ip = number == 2 || number == 10 || number == 24 || number == 28 || number == 30;
  return ip ? internet(in) : Verdict{Drop::not_ip, number};
}

Verdict Decoder::internet(Bytes in) {
  if (!in.has(1)) return kTruncated;
  const int version = in.u8(0) >> 4;
  if (version == 4) return internet4(in);
  return version == 6 ? internet6(in) : kBad;
}

Verdict Decoder::internet4(Bytes in) {
  if (!in.has(20)) return kTruncated;
  const uint32_t header = (in.u8(0) & 15) * 4u;
  ip_size_ = in.be16(2) ? in.be16(2) : left(in);  // 0: the sender's network card was to cut it up
  if (header < 20 || ip_size_ < header) return kBad;
  if (!in.has(header)) return kTruncated;
  const Address mapped = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
  packet_.source.address = packet_.destination.address = mapped;
  std::copy_n(in.checked(12, 4), 4, packet_.source.address.begin() + 12);
  std::copy_n(in.checked(16, 4), 4, packet_.destination.address.begin() + 12);
  const uint16_t cut = in.be16(6);
  packet_.fragment_id = in.be16(4);
  packet_.fragment = cut & 0x1fff   ? Fragment::later
                     : cut & 0x2000 ? Fragment::first
                                    : Fragment::none;
  const bool secured = in.u8(9) == kAuthentication && packet_.fragment != Fragment::later;
  return secured ? extensions(in.u8(9), in.from(header), ip_size_ - header)
                 : transport(in.u8(9), in.from(header), ip_size_ - header);
}

Verdict Decoder::internet6(Bytes in) {
  if (!in.has(40)) return kTruncated;
  std::copy_n(in.checked(8, 16), 16, packet_.source.address.begin());
  std::copy_n(in.checked(24, 16), 16, packet_.destination.address.begin());
  packet_.fragment = Fragment::none;
  // 0 with something behind it: a jumbogram, or the sender's network card was to cut it up.
  ip_size_ = in.be16(4) || in.u8(6) == kNothing ? 40u + in.be16(4) : left(in);
  if (ip_size_ < 40) return kBad;
  return extensions(in.u8(6), in.from(40), ip_size_ - 40);
}

Verdict Decoder::extensions(uint8_t protocol, Bytes in, uint32_t left) {
  while (protocol == 0 || protocol == 43 || protocol == 44 || protocol == kAuthentication ||
         protocol == 60) {
    if (!in.has(8)) return kTruncated;
    uint32_t length = (in.u8(1) + 1) * 8u;
    if (protocol == kAuthentication) length = (in.u8(1) + 2) * 4u;  // which counts in fours
    if (protocol == 44) {
      length = 8;
      const uint16_t cut = in.be16(2);
      packet_.fragment_id = in.be32(4);
      packet_.fragment = cut & 0xfff8 ? Fragment::later
                         : cut & 1    ? Fragment::first
                                      : Fragment::none;
    }
    if (length > left) return kBad;
    if (!in.has(length)) return kTruncated;
    protocol = in.u8(0);
    in = in.from(length);
    left -= length;
    if (packet_.fragment == Fragment::later) break;
  }
  return transport(protocol, in, left);
}

Verdict Decoder::transport(uint8_t protocol, Bytes in, uint32_t left) {
  packet_.protocol = protocol;
  if (packet_.fragment == Fragment::later) return sized(left);
  if (reading_.tunnels && depth_ < kMaxTunnels) {
    ++depth_;
    if (protocol == 4 || protocol == 41) return internet(in);
    if (protocol == 47) return gre(in);
    const bool vxlan = protocol == kUdp && in.has(8) && in.be16(2) == 4789;
    if (vxlan) return in.has(16) ? ethernet(in.from(16)) : kTruncated;
  }
  return ports(protocol, in, left);
}

Verdict Decoder::ports(uint8_t protocol, Bytes in, uint32_t left) {
  uint32_t header = protocol == 1 || protocol == 58 ? 8 : 0;
  const bool udp = protocol == kUdp || protocol == kUdpLite;
  if (protocol == kTcp || protocol == kDccp || udp || protocol == kSctp) {
    if (!in.has(protocol == kTcp ? 14 : protocol == kDccp ? 5 : 4)) return kTruncated;
    packet_.source.port = in.be16(0);
    packet_.destination.port = in.be16(2);
    header = udp ? 8 : 12;
    if (protocol == kDccp) header = in.u8(4) * 4u;
    if (protocol == kTcp) header = (in.u8(12) >> 4) * 4u;
    if (protocol == kTcp) packet_.tcp_flags = in.u8(13);
    if (header < (protocol == kTcp ? 20u : udp ? 8u : 12u)) return kBad;
  }
  return sized(left > header ? left - header : 0);
}

Verdict Decoder::gre(Bytes in) {
  if (!in.has(4)) return kTruncated;
  const uint16_t flags = in.be16(0), type = in.be16(2);
  if (flags & 0x4007) return {Drop::not_ip, type};  // source routes, or version 1 (PPTP)
  const size_t header = 4 + 4 * (!!(flags & 0x8000) + !!(flags & 0x2000) + !!(flags & 0x1000));
  if (!in.has(header)) return kTruncated;
  return type == kBridged ? ethernet(in.from(header)) : by_type(type, in.from(header));
}

Verdict Decoder::sized(uint32_t payload) {
  packet_.size = reading_.size == Size::ip     ? ip_size_
                 : reading_.size == Size::wire ? record_.length
                                               : payload;
  return packet_.size < 1u << 31 ? kKept : kBad;
}

}  // namespace

Verdict decode(const Record& record, const Reading& reading, Packet& packet) {
  return Decoder(record, reading, packet).frame();
}

}  // namespace netdiffus::capture
