// What blades say to each other: docs/formats/mirror.md. The blade that wants to follow connects, and says
// Hello.
//
//   Hello ->       <- Welcome | Refused
//   Follow ->      <- Following, then Batch, Dead, Blocks, Stale, Beacon, Frozen ...
//   Ack, Taken, WantBlocks ->
//                  <- InSync, Legacy, HandOver
// WantHandOver ->
//                  <- WantBlocks
// Blocks ->
//
// A follower without a copy, or whose log ends where the primary's no longer begins, asks for all rows first:
//
//   WantRows ->    <- Rows, again and again; behind the first, Following, and the log and all that goes with
//   it Ack ... ->
//
// When it has all rows, and what the log has made of them since, it goes on with Follow.
#pragma once

#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "mirror/configuration.h"

namespace perdure::mirror {

// A blade understands all versions from one to the other; two of them use the newest that both know.
inline constexpr uint32_t protocol_version = 3, protocol_version_min = 2;
// From this one on there are Stale, Taken and Dead, and the log comes along with a copy.
inline constexpr uint32_t protocol_version_flow = 3;
inline constexpr uint32_t blocks_per_message = 64;

struct Hello {
  static constexpr uint8_t type = 1;
  uint32_t version = protocol_version;
  Start from;
  bool loaded = false;  // and then its log ends here
  Lsn log_end;
  template <class Self, class V>
  static void fields(Self& m, V&& v) {
    v("version", m.version), v("from", m.from), v("loaded", m.loaded), v("log_end", m.log_end);
  }
};

struct Welcome {
  static constexpr uint8_t type = 2;
  Start primary;
  History history;
  // Both blades must have the same level, and the follower's time until it takes over must be longer than the
  // lease.
  uint64_t lease_ns = 0;
  uint8_t level = 0;                        // Level
  uint32_t version = protocol_version_min;  // to be used
  template <class Self, class V>
  static void fields(Self& m, V&& v) {
    v("primary", m.primary), v("history", m.history), v("lease_ns", m.lease_ns), v("level", m.level),
        v("version", m.version);
  }
};

struct Refused {
  static constexpr uint8_t type = 3;
  enum class Why : uint8_t {
    not_primary = 1,
    version = 2,
    log_gone = 3,  // what the follower lacks is no longer in the log: it needs a copy
  };
  Why why = Why::not_primary;
  template <class Self, class V>
  static void fields(Self& m, V&& v) {
    v("why", m.why);
  }
};

struct Follow {
  static constexpr uint8_t type = 4;
  Lsn from;  // the follower's log ends here
  template <class Self, class V>
  static void fields(Self& m, V&& v) {
    v("from", m.from);
  }
};

struct Following {
  static constexpr uint8_t type = 11;
  Lsn live;  // what is written from now on is sent: all that batches from here on may name, but for what was
             // written before
  template <class Self, class V>
  static void fields(Self& m, V&& v) {
    v("live", m.live);
  }
};

// The payload follows the fields.
struct Batch {
  static constexpr uint8_t type = 5;
  Lsn start;
  Epoch epoch;
  uint32_t payload_crc = 0;
  Bytes payload;  // not a field: it lies in the message
  template <class Self, class V>
  static void fields(Self& m, V&& v) {
    v("start", m.start), v("epoch", m.epoch), v("payload_crc", m.payload_crc);
  }
};

// Sent often, and behind batches.
struct Beacon {
  static constexpr uint8_t type = 6;
  uint64_t time = 0;  // the primary's clock, in nanoseconds: comes back in the Ack
  Lsn durable;        // everything before it is durable, so that no other log can take it back
  template <class Self, class V>
  static void fields(Self& m, V&& v) {
    v("time", m.time), v("durable", m.durable);
  }
};

struct Ack {
  static constexpr uint8_t type = 7;
  uint64_t time = 0;  // of the last Beacon; whoever sends this will not take over before a lease has passed
  Lsn received;       // everything before it is here, with all blocks that it names
  Lsn stable;         // the same, on stable storage
  Lsn applied;        // and in the checkpoint
  bool fit = true;    // clients could reach it
  friend bool operator==(const Ack&, const Ack&) = default;
  template <class Self, class V>
  static void fields(Self& m, V&& v) {
    v("time", m.time), v("received", m.received), v("stable", m.stable), v("applied", m.applied),
        v("fit", m.fit);
  }
};

// The blocks' content follows the fields.
struct Blocks {
  static constexpr uint8_t type = 8;
  BlockNo first;
  Bytes content;
  template <class Self, class V>
  static void fields(Self& m, V&& v) {
    v("first", m.first);
  }
};

// The primary's checkpoint is of this place of its log, and file data that the log had is on blocks there: a
// follower that makes its own there as well need not put it into its store.
struct Frozen {
  static constexpr uint8_t type = 17;
  Lsn at;
  template <class Self, class V>
  static void fields(Self& m, V&& v) {
    v("at", m.at);
  }
};

struct WantBlocks {
  static constexpr uint8_t type = 9;
  BlockNo first;
  uint32_t count = 0;
  template <class Self, class V>
  static void fields(Self& m, V&& v) {
    v("first", m.first), v("count", m.count);
  }
};

// The primary has written these blocks, and does not send them: what the follower has of them is old.
struct Stale {
  static constexpr uint8_t type = 18;
  BlockNo first;
  uint64_t count = 0;
  template <class Self, class V>
  static void fields(Self& m, V&& v) {
    v("first", m.first), v("count", m.count);
  }
};

// So many of the blocks that have come are written. What was sent and is not written is bounded by the
// sender.
struct Taken {
  static constexpr uint8_t type = 19;
  uint64_t blocks = 0;
  template <class Self, class V>
  static void fields(Self& m, V&& v) {
    v("blocks", m.blocks);
  }
};

// Blocks that the next Batch names, and that were freed since, durably: nobody will ever want to know what
// the batch says they are.
struct Dead {
  static constexpr uint8_t type = 20;
  struct Range {
    BlockNo first;
    uint32_t count = 0;
    template <class Self, class V>
    static void fields(Self& r, V&& v) {
      v("first", r.first), v("count", r.count);
    }
  };
  std::vector<Range> ranges;
  template <class Self, class V>
  static void fields(Self& m, V&& v) {
    v("ranges", m.ranges);
  }
};

struct InSync {
  static constexpr uint8_t type = 10;
  Epoch epoch;
  template <class Self, class V>
  static void fields(Self& m, V&& v) {
    v("epoch", m.epoch);
  }
};

// The rows behind a key, in the order of keys.
struct WantRows {
  static constexpr uint8_t type = 12;
  bool first = false;  // a copy begins
  ByteVector behind;   // table number and key; not this one
  template <class Self, class V>
  static void fields(Self& m, V&& v) {
    v("first", m.first), v("behind", m.behind);
  }
};

// All rows behind one key, up to another: what is in the primary's checkpoint at this moment. The log from
// `read_from` on, redone over all of them, makes them what they are.
struct Rows {
  static constexpr uint8_t type = 13;
  Lsn read_from;
  ByteVector behind, upto;  // `upto` empty: there are no more
  struct Row {
    ByteVector key, value;
    template <class Self, class V>
    static void fields(Self& r, V&& v) {
      v("key", r.key), v("value", r.value);
    }
  };
  std::vector<Row> rows;
  template <class Self, class V>
  static void fields(Self& m, V&& v) {
    v("read_from", m.read_from), v("behind", m.behind), v("upto", m.upto), v("rows", m.rows);
  }
};

// The primary answers nothing any more: whoever is in sync need not wait to take over.
struct HandOver {
  static constexpr uint8_t type = 14;
  template <class Self, class V>
  static void fields(Self&, V&&) {}
};

// Of a mirror whose administrator wants it to be the primary.
struct WantHandOver {
  static constexpr uint8_t type = 15;
  template <class Self, class V>
  static void fields(Self&, V&&) {}
};

// What the primary leaves to its successor beside the log (server/): the newest counts.
struct Legacy {
  static constexpr uint8_t type = 16;
  ByteVector bytes;
  template <class Self, class V>
  static void fields(Self& m, V&& v) {
    v("bytes", m.bytes);
  }
};

using Message =
    std::variant<Hello, Welcome, Refused, Follow, Batch, Beacon, Ack, Blocks, WantBlocks, InSync, Following,
                 WantRows, Rows, HandOver, WantHandOver, Legacy, Frozen, Stale, Taken, Dead>;

// Without payload or content, which is sent behind it.
ByteVector encode_message(const Message& message);
// Any bytes are safe. Views into `message`.
Result<Message> decode_message(Bytes message);

}  // namespace perdure::mirror
