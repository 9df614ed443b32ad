// The files that captures come in: pcap and pcapng, known by their first bytes.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "bytes.h"

namespace netdiffus::capture {

// One packet as it was recorded.
struct Record {
  int64_t time;     // ns since 1970
  uint32_t length;  // on the wire; data may hold less
  uint32_t link;    // link type
  Bytes data;
};

// Takes a file apart from its beginning, whatever pieces it comes in.
class Container {
 public:
  enum class Step { more, skipped, record, damaged };

  // Takes the next part off the front of `in`. more: it is not there whole, and nothing was taken.
  // damaged: nothing behind it can be read, and problem() says why.
  Step next(Bytes& in, Record& record);

  uint64_t offset() const { return offset_; }  // in the file, of the front
  bool started() const { return !!kind_; }     // the first bytes are those of a capture
  const std::string& problem() const { return problem_; }
  uint64_t untimed() const { return untimed_; }  // simple packet blocks, which have no time

 private:
  struct Interface {
    uint16_t link = 0;
    uint32_t snap_length = 0;
    uint8_t resolution = 6;  // as in if_tsresol
    int64_t offset_s = 0;
  };
  enum Kind { unknown, pcap, pcapng };

  Step start(Bytes& in);
  Step pcap_header(Bytes& in);
  Step pcap_record(Bytes& in, Record& record);
  Step block(Bytes& in, Record& record);
  Step section(Bytes body);
  Step interface(Bytes body);
  Step packet(Bytes body, bool enhanced, Record& record);
  Step simple_packet(Bytes body, Record& record);
  Step damaged(const std::string& what);
  void option(Interface& to, uint16_t code, Bytes value) const;
  bool to_ns(const Interface& from, uint64_t units, int64_t& ns) const;
  void take(Bytes& in, size_t count);
  uint16_t u16(Bytes in, size_t at) const { return big_ ? in.be16(at) : in.le16(at); }
  uint32_t u32(Bytes in, size_t at) const { return big_ ? in.be32(at) : in.le32(at); }
  uint64_t u64(Bytes in, size_t at) const;

  Kind kind_ = unknown;
  bool big_ = false;
  uint32_t link_ = 0;       // of a pcap
  int64_t unit_ns_ = 1000;  // of a pcap
  uint64_t offset_ = 0;
  uint64_t untimed_ = 0;
  int64_t last_time_ = 0;
  std::vector<Interface> interfaces_;  // of a pcapng's section
  std::string problem_;
};

}  // namespace netdiffus::capture
