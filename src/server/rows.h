// The rows that belong to a vserver as a whole.
#pragma once

#include <array>

#include "base/siphash.h"
#include "state/table.h"

namespace perdure::server {

// The identity of a vserver: made once, the same on every blade that serves it.
struct VserverRow {
  static constexpr state::TableId table = state::TableId::vserver;
  static constexpr state::Residence residence = state::Residence::resident;
  static constexpr const char* name = "vserver";
  struct Key {
    uint8_t one = 0;
    auto operator<=>(const Key&) const = default;
    template <class Self, class V>
    static void fields(Self& k, V&& v) {
      v("one", k.one);
    }
  };
  std::array<uint64_t, 2> uuid{};  // clients see it
  SipKey secret;                   // ClientState::set_key
  // Of the last clean stop, which lost nothing unstable: the epoch (0: there was none), and the write
  // verifier that was in use. The next epoch goes on under it.
  Epoch clean_stop;
  uint64_t write_verifier = 0;
  template <class Self, class V>
  static void fields(Self& r, V&& v) {
    v("uuid", r.uuid), v("secret", r.secret), v("clean_stop", r.clean_stop),
        v("write_verifier", r.write_verifier);
  }
};

// When a primary of a pair began: the log from there on is its own. What a blade that comes back has of
// earlier epochs behind it was never durable (mirror/configuration.h).
struct EpochRow {
  static constexpr state::TableId table = state::TableId::epoch;
  static constexpr state::Residence residence = state::Residence::resident;
  static constexpr const char* name = "epoch";
  struct Key {
    Epoch epoch;
    auto operator<=>(const Key&) const = default;
    template <class Self, class V>
    static void fields(Self& k, V&& v) {
      v("epoch", k.epoch);
    }
  };
  Lsn lsn;
  template <class Self, class V>
  static void fields(Self& r, V&& v) {
    v("lsn", r.lsn);
  }
};

}  // namespace perdure::server
