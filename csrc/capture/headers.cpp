// Link types: www.tcpdump.org/linktypes.html. Headers: RFC 791, 8200, 9293, 768, 2516 (PPPoE), 3032
// (MPLS), 4385 (pseudowires), 4302 (AH), 3828 (UDP-Lite), 4340 (DCCP), 1661 and 1662 (PPP), 1042
// (SNAP), 2427 (frame relay); IEEE 802.1ah (PBB), 802.1BR, 802.11; radiotap.org. Tunnels stand in
// tunnels.cpp.
#include "headers.h"

#include <algorithm>

#include "tunnels.h"

namespace netdiffus::capture {
namespace {

constexpr Verdict kTruncated = {Drop::truncated, 0}, kBad = {Drop::bad_header, 0};
constexpr int kMaxTunnels = 8;
constexpr int kMaxLayers = 32;  // of link layers in one another
constexpr uint8_t kDccp = 33, kAuthentication = 51, kNothing = 59, kSctp = 132, kUdpLite = 136;
constexpr uint8_t kMadeBy[4] = {0x02, 'n', 'd', 'f'};

// Reads one frame; nested packets start over with internet().
class Decoder {
 public:
  Decoder(const Record& record, const Reading& reading, Packet& packet, Seen& seen)
      : record_(record), reading_(reading), packet_(packet), seen_(seen) {}

  Verdict frame();

 private:
  Verdict link(uint32_t type, Bytes in);
  Verdict outermost_ethernet(Bytes in);
  Verdict ethernet(Bytes in);
  Verdict by_type(uint16_t type, Bytes in);
  Verdict after(size_t header, uint16_t type, Bytes in);
  Verdict llc(uint16_t type, Bytes in);
  Verdict macsec(Bytes in);
  Verdict pppoe(Bytes in);
  Verdict ppp(Bytes in);
  Verdict ppp_or_cisco(Bytes in);
  Verdict cisco(Bytes in);
  Verdict frame_relay(Bytes in);
  Verdict radiotap(Bytes in);
  Verdict before_wifi(Bytes in);
  Verdict wifi(Bytes in, bool padded);
  Verdict cooked(Bytes in);
  Verdict per_packet(Bytes in);
  Verdict pktap(Bytes in);
  Verdict nflog(Bytes in);
  Verdict mpls(Bytes in);
  Verdict family(uint32_t number, Bytes in);
  Verdict internet(Bytes in);
  Verdict internet4(Bytes in);
  Verdict internet6(Bytes in);
  Verdict extensions(uint8_t protocol, Bytes in, uint32_t left);
  Verdict transport(uint8_t protocol, Bytes in, uint32_t left);
  Verdict inside(const Inner& inner);
  Verdict ports(uint8_t protocol, Bytes in, uint32_t left);
  Verdict sized(uint32_t payload);
  bool is_ip(Bytes in) const;
  void origin(Bytes ethernet);
  // How much of the frame was on the wire from here on.
  uint32_t left(Bytes in) const {
    const size_t before = static_cast<size_t>(in.data - record_.data.data);
    return static_cast<uint32_t>(record_.length > before ? record_.length - before : 0);
  }

  const Record& record_;
  const Reading& reading_;
  Packet& packet_;
  Seen& seen_;
  uint32_t ip_size_ = 0;
  int depth_ = 0, layers_ = 0;
};

Verdict Decoder::frame() {
  packet_ = {};
  packet_.time = record_.time;
  return link(record_.link, record_.data);
}

Verdict Decoder::link(uint32_t type, Bytes in) {
  if (++layers_ > kMaxLayers) return kBad;
  switch (type) {
    case 0:  // NULL: in the byte order of the machine that captured
      return in.has(4) ? family(std::min(in.le32(0), in.be32(0)), in.from(4)) : kTruncated;
    case 108:  // LOOP
      return in.has(4) ? family(in.be32(0), in.from(4)) : kTruncated;
    case 109:  // ENC: family, SPI, flags
      return in.has(12) ? family(std::min(in.le32(0), in.be32(0)), in.from(12)) : kTruncated;
    case 1:
      return outermost_ethernet(in);
    case 9:  // PPP
      return ppp(in);
    case 166:  // PPP_PPPD: direction, 3
      return in.has(2) ? ppp(in.from(in.u8(1) == 3 ? 2 : 1)) : kTruncated;
    case 204:  // PPP_WITH_DIR
      return in.has(1) ? ppp(in.from(1)) : kTruncated;
    case 205:  // C_HDLC_WITH_DIR
      return in.has(1) ? cisco(in.from(1)) : kTruncated;
    case 206:  // FRELAY_WITH_DIR
      return in.has(1) ? frame_relay(in.from(1)) : kTruncated;
    case 8:  // SLIP: direction, header as it was sent
      return in.has(16) ? internet(in.from(16)) : kTruncated;
    case 10:  // FDDI
      return in.has(13) ? llc(0, in.from(13)) : kTruncated;
    case 138:  // APPLE_IP_OVER_IEEE1394
      return in.has(18) ? by_type(in.be16(16), in.from(18)) : kTruncated;
    case 50:  // PPP_HDLC
      return ppp_or_cisco(in);
    case 51:  // PPP_ETHER
      return pppoe(in);
    case 104:  // C_HDLC
      return cisco(in);
    case 107:  // FRELAY
      return frame_relay(in);
    case 11:
    case 100:  // ATM_RFC1483
      return llc(0, in);
    case 105:  // IEEE802_11
      return wifi(in, false);
    case 119:  // IEEE802_11_PRISM
    case 163:  // IEEE802_11_AVS
      return before_wifi(in);
    case 127:  // IEEE802_11_RADIOTAP
      return radiotap(in);
    case 192:  // PPI
      return per_packet(in);
    case 219:  // MPLS
      return mpls(in);
    case 226:  // IPNET
      return in.has(24) ? internet(in.from(24)) : kTruncated;
    case 239:  // NFLOG
      return nflog(in);
    case 258:  // PKTAP
      return pktap(in);
    case 12:
    case 14:
    case 101:  // RAW, and what it is called in files of some systems
    case 228:
    case 229:
      return internet(in);
    case 113:  // LINUX_SLL
      return cooked(in);
    case 276:  // LINUX_SLL2
      return in.has(20) ? by_type(in.be16(0), in.from(20)) : kTruncated;
    default:
      return {Drop::link_type, type};
  }
}

// Some drivers of mobile modems give bare IP packets and call them Ethernet.
Verdict Decoder::outermost_ethernet(Bytes in) {
  origin(in);
  const Verdict verdict = ethernet(in);
  if (verdict.why == Drop::none || !is_ip(in)) return verdict;
  const uint32_t size = in.u8(0) >> 4 == 4 ? in.be16(2) : 40u + in.be16(4);
  if (size != record_.length) return verdict;
  seen_.bare = true;
  packet_.origin = Origin::wild;
  packet_.framing = false;
  return internet(in);
}

Verdict Decoder::ethernet(Bytes in) {
  if (++layers_ > kMaxLayers) return kBad;
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
  if (++layers_ > kMaxLayers) return kBad;
  while (type == 0x8100 || type == 0x88a8 || type == 0x9100 || type == 0x9200) {  // VLAN tags
    if (!in.has(4)) return kTruncated;
    type = in.be16(2);
    in = in.from(4);
  }
  if (type < 0x0600) return llc(type, in);
  switch (type) {
    case kIPv4:
    case kIPv6:
      return internet(in);
    case 0x8864:
      return pppoe(in);
    case 0x880b:
      return ppp(in);
    case 0x8847:
    case 0x8848:
      return mpls(in);
    case 0x88e7:  // PBB: behind its tag a whole frame
      return in.has(4) ? ethernet(in.from(4)) : kTruncated;
    case 0x8926:  // VN-tag
    case 0x8909:  // Cisco metadata
      return after(4 + 2 * (type == 0x8909), type, in);
    case 0x893f:  // 802.1BR
      return after(6, type, in);
    case 0x88e5:
      return macsec(in);
    case 0x8870:  // the length of a jumbo frame
      return llc(type, in);
    default:
      return {Drop::not_ip, type};
  }
}

// Behind a tag of so many bytes the type of what follows stands.
Verdict Decoder::after(size_t tag, uint16_t type, Bytes in) {
  if (!in.has(tag + 2)) return kTruncated;
  const uint16_t next = in.be16(tag);
  return next == type ? Verdict{Drop::not_ip, type} : by_type(next, in.from(tag + 2));
}

// `type`: what is reported where this is no IP.
Verdict Decoder::llc(uint16_t type, Bytes in) {
  if (!in.has(3)) return kTruncated;
  const uint16_t service = in.be16(0);
  if (service == 0x0606 && in.u8(2) == 3) return internet(in.from(3));
  const bool snap = service == 0xaaaa && in.u8(2) == 3;
  if (snap && !in.has(8)) return kTruncated;
  const bool ether_type = snap && in.u8(3) == 0 && in.u8(4) == 0 && in.be16(6) >= 0x0600 &&
                          (in.u8(5) == 0 || in.u8(5) == 0xf8);
  return ether_type ? by_type(in.be16(6), in.from(8)) : Verdict{Drop::not_ip, type};
}

// Without encryption the frame goes on behind the tag.
Verdict Decoder::macsec(Bytes in) {
  if (!in.has(6)) return kTruncated;
  const uint8_t flags = in.u8(0);
  if (flags & 0x0c) return {Drop::not_ip, 0x88e5};
  return after(flags & 0x20 ? 14 : 6, 0x88e5, in);
}

Verdict Decoder::pppoe(Bytes in) {
  if (!in.has(8)) return kTruncated;
  const uint16_t protocol = in.be16(6);
  if (protocol == 0x0021 || protocol == 0x0057) return internet(in.from(8));
  return {Drop::not_ip, 0x8864};
}

// With or without address and control, its protocol in two bytes or one.
Verdict Decoder::ppp(Bytes in) {
  if (in.has(2) && in.be16(0) == 0xff03) in = in.from(2);
  if (!in.has(2)) return kTruncated;
  const bool brief = in.u8(0) & 1;
  const uint16_t protocol = brief ? in.u8(0) : in.be16(0);
  in = in.from(brief ? 1 : 2);
  if (protocol == 0x0021 || protocol == 0x0057) return internet(in);
  if (protocol == 0x0281 || protocol == 0x0283) return mpls(in);
  return {Drop::not_ip_ppp, protocol};
}

Verdict Decoder::ppp_or_cisco(Bytes in) {
  const bool is_cisco = in.has(2) && (in.be16(0) == 0x0f00 || in.be16(0) == 0x8f00);
  return is_cisco ? cisco(in) : ppp(in);
}

Verdict Decoder::cisco(Bytes in) {
  return in.has(4) ? by_type(in.be16(2), in.from(4)) : kTruncated;
}

Verdict Decoder::frame_relay(Bytes in) {
  size_t at = 0;  // of the address, whose last byte is odd
  while (at < 4 && in.has(at + 1) && !(in.u8(at) & 1)) ++at;
  if (!in.has(at + 5)) return kTruncated;
  in = in.from(at + 1);
  if (in.u8(0) != 3) return by_type(in.be16(0), in.from(2));  // Cisco's form
  const size_t pad = in.u8(1) == 0;
  const uint8_t id = in.u8(1 + pad);
  if (id == 0xcc || id == 0x8e) return internet(in.from(2 + pad));
  if (id != 0x80 || !in.has(7 + pad)) return {Drop::not_ip, id};
  const Bytes snap = in.from(2 + pad);
  return snap.be16(0) || snap.u8(2) ? Verdict{Drop::not_ip, id}
                                    : by_type(snap.be16(3), snap.from(5));
}

// The headers of Prism and AVS say how long they are, the latter with the higher byte first.
Verdict Decoder::before_wifi(Bytes in) {
  if (!in.has(8)) return kTruncated;
  const uint32_t length = in.be32(0) >> 12 == 0x80211 ? in.be32(4) : in.le32(4);
  return in.has(length) ? wifi(in.from(length), false) : kTruncated;
}

Verdict Decoder::radiotap(Bytes in) {
  if (!in.has(8)) return kTruncated;
  const size_t length = in.le16(2);
  if (length < 8 || !in.has(length)) return kTruncated;
  size_t at = 4;  // of the words that say which fields follow
  while (in.le32(at) >> 31 && at + 8 <= length) at += 4;
  at += 4;
  if (in.le32(4) & 1) at = (at + 7) / 8 * 8 + 8;  // a time
  const bool flags = in.le32(4) & 2 && at < length;
  return wifi(in.from(length), flags && in.u8(at) & 0x20);
}

// `padded`: so that what follows the header is aligned.
Verdict Decoder::wifi(Bytes in, bool padded) {
  if (!in.has(2)) return kTruncated;
  const uint16_t control = in.le16(0);
  if ((control & 0x0c) != 0x08 || control & 0x40) return {Drop::wifi, kWifiNoData};
  if (control & 0x4000) return {Drop::wifi, kWifiEncrypted};
  const bool quality = control & 0x80;
  size_t header = (control & 0x0300) == 0x0300 ? 30 : 24;  // a fourth address
  const size_t qos = header;
  if (quality) header += control & 0x8000 ? 6 : 2;
  if (padded) header = (header + 3) / 4 * 4;
  if (!in.has(header)) return kTruncated;
  if (in.le16(22) & 15) return {Drop::wifi, kWifiFragment};
  if (quality && in.u8(qos) & 0x80) return {Drop::wifi, kWifiAggregate};
  return llc(0, in.from(header));
}

// LINUX_SLL: behind the type of interface stands what its drivers give.
Verdict Decoder::cooked(Bytes in) {
  if (!in.has(16)) return kTruncated;
  const uint16_t interface = in.be16(2);
  if (interface == 803) return radiotap(in.from(16));
  return interface == 801 ? wifi(in.from(16), false) : by_type(in.be16(14), in.from(16));
}

Verdict Decoder::per_packet(Bytes in) {
  if (!in.has(8)) return kTruncated;
  const size_t length = in.le16(2);
  return length >= 8 && in.has(length) ? link(in.le32(4), in.from(length)) : kTruncated;
}

Verdict Decoder::pktap(Bytes in) {
  if (!in.has(12)) return kTruncated;
  const size_t length = in.le32(0);
  return length >= 12 && in.has(length) ? link(in.le32(8), in.from(length)) : kTruncated;
}

// Values with type and length, in the byte order of the machine that captured; one is the packet.
Verdict Decoder::nflog(Bytes in) {
  if (!in.has(4)) return kTruncated;
  const uint8_t protocol = in.u8(0);
  in = in.from(4);
  while (in.has(4)) {
    const bool little = in.u8(3) == 0;
    const size_t length = little ? in.le16(0) : in.be16(0);
    const uint16_t type = little ? in.le16(2) : in.be16(2);
    if (length < 4) return kBad;
    if (type == 9) return family(protocol, in.from(4));  // snap length may have cut it
    const size_t whole = (length + 3) / 4 * 4;
    if (!in.has(whole)) return kTruncated;
    in = in.from(whole);
  }
  return {Drop::not_ip, 0};
}

// The labels do not say what they carry: IP, or Ethernet with or without a control word.
Verdict Decoder::mpls(Bytes in) {
  for (bool bottom = false; !bottom; in = in.from(4)) {
    if (!in.has(4)) return kTruncated;
    bottom = in.u8(2) & 1;
  }
  if (!in.has(1)) return kTruncated;
  if (is_ip(in)) return internet(in);
  const size_t word = in.u8(0) >> 4 == 0 && in.has(18) ? 4 : 0;
  for (const size_t at : {word, size_t{0}}) {
    if (!in.has(at + 15)) continue;
    const uint16_t type = in.be16(at + 12);
    const bool tagged = type == 0x8100 || type == 0x88a8;
    if (tagged || ((type == kIPv4 || type == kIPv6) && is_ip(in.from(at + 14))))
      return ethernet(in.from(at));
  }
  const int version = in.u8(0) >> 4;
  return version == 4 || version == 6 ? internet(in) : Verdict{Drop::not_ip, 0x8847};
}

// Whether a header stands here whose lengths are possible.
bool Decoder::is_ip(Bytes in) const {
  if (!in.has(20)) return false;
  const int version = in.u8(0) >> 4;
  const uint32_t header = (in.u8(0) & 15) * 4u, size = in.be16(2);
  if (version == 4) return header >= 20 && (!size || (size >= header && size <= left(in)));
  return version == 6 && 40u + in.be16(4) <= left(in);
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
  seen_.ip = in.first(std::min<size_t>(in.size, ip_size_));
  const Address mapped = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
  packet_.source.address = packet_.destination.address = mapped;
  std::copy_n(in.checked(12, 4), 4, packet_.source.address.begin() + 12);
  std::copy_n(in.checked(16, 4), 4, packet_.destination.address.begin() + 12);
  const uint16_t cut = in.be16(6);
  packet_.fragment_id = in.be16(4);
  packet_.ttl = in.u8(8);
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
  packet_.ttl = in.u8(7);
  // 0 with something behind it: a jumbogram, or the sender's network card was to cut it up.
  ip_size_ = in.be16(4) || in.u8(6) == kNothing ? 40u + in.be16(4) : left(in);
  if (ip_size_ < 40) return kBad;
  seen_.ip = in.first(std::min<size_t>(in.size, ip_size_));
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
  const Inner inner = inner_of(protocol, in);
  if (inner.kind == Inner::none) return ports(protocol, in, left);
  if (reading_.tunnels && depth_ < kMaxTunnels) {
    ++depth_;
    const Packet outer = packet_;
    const Seen seen = seen_;
    const uint32_t ip_size = ip_size_;
    const Verdict verdict = inside(inner);
    if (verdict.why == Drop::none) return verdict;
    packet_ = outer;
    seen_ = seen;
    ip_size_ = ip_size;
  }
  seen_.in_tunnel = true;
  return ports(protocol, in, left);
}

Verdict Decoder::inside(const Inner& inner) {
  switch (inner.kind) {
    case Inner::ip:
      return internet(inner.data);
    case Inner::ethernet:
      return ethernet(inner.data);
    case Inner::ppp:
      return ppp(inner.data);
    case Inner::wifi:
      return wifi(inner.data, false);
    case Inner::by_type:
      return by_type(inner.type, inner.data);
    default:
      return {Drop::not_ip, inner.type};
  }
}

Verdict Decoder::ports(uint8_t protocol, Bytes in, uint32_t left) {
  uint32_t header = protocol == 1 || protocol == 58 ? 8 : 0;
  const bool udp = protocol == kUdp || protocol == kUdpLite;
  if (protocol == kTcp || protocol == kDccp || udp || protocol == kSctp) {
    if (!in.has(protocol == kDccp ? 5 : 4)) return kTruncated;
    packet_.source.port = in.be16(0);
    packet_.destination.port = in.be16(2);
    header = udp ? 8 : 12;
    if (protocol == kDccp) header = in.u8(4) * 4u;
    if (protocol == kTcp && in.has(14)) {
      packet_.sequence = in.be32(4);
      packet_.tcp_flags = in.u8(13);
      packet_.window = in.has(16) ? in.be16(14) : 0;
      header = (in.u8(12) >> 4) * 4u;
    } else if (protocol == kTcp) {  // cut behind the ports: enough but for what it carries
      if (reading_.size == Size::payload) return kTruncated;
      seen_.no_flags = true;
      header = 20;
    }
    if (header < (protocol == kTcp ? 20u : udp ? 8u : 12u)) return kBad;
  }
  return sized(left > header ? left - header : 0);
}

Verdict Decoder::sized(uint32_t payload) {
  packet_.size = reading_.size == Size::ip     ? ip_size_
                 : reading_.size == Size::wire ? record_.length
                                               : payload;
  seen_.ip_size = ip_size_;
  return packet_.size < 1u << 31 ? kKept : kBad;
}

}  // namespace

Verdict decode(const Record& record, const Reading& reading, Packet& packet, Seen& seen) {
  return Decoder(record, reading, packet, seen).frame();
}

}  // namespace netdiffus::capture
