// The files that captures come in: pcap, pcapng and snoop, known by their first bytes.
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
  uint32_t link;    // link type; of snoop files kSnoopMedia and the media type
  Bytes data;
};

constexpr uint32_t kSnoopMedia = 1u << 31;

// Takes a file apart from its beginning, whatever pieces it comes in. Behind a damage it searches
// for the next packet, and it goes on where another file follows in the same one.
class Container {
 public:
  enum class Step { more, skipped, record, dropped, damaged };

  // Takes the next part off the front of `in`. more: it is not there whole, and nothing was taken,
  // or all of it belongs to a damage. dropped: a packet that cannot be. damaged: nothing behind it
  // can be read. `last`: nothing follows `in`.
  Step next(Bytes& in, Record& record, bool last);
  // The rest of `in` is no whole packet or block and is the end of the file: searches for the next
  // one.
  void cut_short(Bytes& in);
  // What comes next is the beginning of another file.
  void next_file();

  bool started() const { return !!kind_; }                 // the first bytes are those of a capture
  const std::string& problem() const { return problem_; }  // the first damage; empty: none
  uint64_t problem_at() const { return problem_at_; }      // byte of the file
  uint64_t damages() const { return damages_; }
  uint64_t lost() const { return lost_; }        // bytes that belong to damages
  uint64_t files() const { return files_; }      // one after the other
  uint64_t beyond() const { return beyond_; }    // times with a second or more as their fraction
  uint64_t untimed() const { return untimed_; }  // simple packet blocks, which have no time

 private:
  struct Interface {
    uint32_t link = 0;
    uint32_t snap_length = 0;
    uint8_t resolution = 6;  // as in if_tsresol
    int64_t offset_s = 0;
  };
  enum Kind { unknown, pcap, pcapng, snoop };
  enum class Guess { no, yes, more };

  Step start(Bytes& in);
  Step pcap_header(Bytes& in);
  Step snoop_header(Bytes& in);
  Step pcap_record(Bytes& in, Record& record);
  Step snoop_record(Bytes& in, Record& record);
  Step block(Bytes& in, Record& record);
  Step section(Bytes body);
  Step interface(Bytes body);
  void options(Interface& to, Bytes rest);
  Step packet(Bytes body, bool enhanced, Record& record);
  Step simple_packet(Bytes body, Record& record);
  Guess file_begins(Bytes in, bool last) const;
  Step search(Bytes& in, bool last);
  Guess record_begins(Bytes in, bool last) const;
  Guess block_begins(Bytes in, bool last) const;
  bool is_record_header(Bytes in) const;
  bool has_possible_fields(Bytes in) const;
  bool is_near(int64_t seconds) const;
  Step end(const std::string& what);
  Step search_behind(Bytes& in, const std::string& what);
  Step drop(const std::string& what);
  void note(const std::string& what);
  void option(Interface& to, uint16_t code, Bytes value) const;
  bool to_ns(const Interface& from, uint64_t units, int64_t& ns) const;
  void take(Bytes& in, size_t count);
  uint16_t u16(Bytes in, size_t at) const { return big_ ? in.be16(at) : in.le16(at); }
  uint32_t u32(Bytes in, size_t at) const { return big_ ? in.be32(at) : in.le32(at); }
  uint64_t u64(Bytes in, size_t at) const;

  Kind kind_ = unknown;
  bool big_ = false;
  bool searching_ = false, ended_ = false;
  uint32_t link_ = 0;       // of a pcap or snoop
  int64_t unit_ns_ = 1000;  // of a pcap
  size_t head_ = 16;        // bytes of a pcap's record header
  int64_t first_s_ = -1;    // time of a pcap's first record; -1: none yet
  int64_t seconds_ = -1;    // of a pcap's last record; -1: none yet
  uint64_t offset_ = 0, problem_at_ = 0;
  uint64_t damages_ = 0, lost_ = 0, files_ = 0, untimed_ = 0, beyond_ = 0;
  int64_t last_time_ = 0;
  std::vector<Interface> interfaces_;  // of a pcapng's section
  std::string problem_;
};

}  // namespace netdiffus::capture
