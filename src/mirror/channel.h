// A connection between two blades: whole messages, in order, both ways, until it breaks. Whoever it comes
// from is known to be the peer (TLS); what it says is checked all the same. Thread: the vserver's loop.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "base/bytes.h"
#include "base/page.h"

namespace perdure::mirror {

inline constexpr size_t message_bytes_max = 16U << 20U;
// What a bundle of paths (bundle.h) puts before a message at most: a path takes so much more.
inline constexpr size_t frame_bytes_max = 16;

class Channel {
 public:
  struct Handler {
    std::function<void(Bytes message)> received;
    std::function<void()> closed;  // the last call
  };

  virtual ~Channel() = default;  // closes it, and calls nothing more
  // From the loop, never inline. Before it is set, nothing is received.
  virtual void set_handler(Handler handler) = 0;
  // `pages` follow the message's bytes; they are kept until they are sent.
  virtual void send(Bytes message, std::vector<PageRef> pages) = 0;
  void send(Bytes message) { send(message, {}); }
  // What has not left this blade.
  virtual size_t unsent_bytes() const = 0;
  // Over so many paths it goes at present.
  virtual size_t paths() const { return 1; }
};

// Makes channels to the peer.
class Connector {
 public:
  virtual ~Connector() = default;
  // Null: it cannot be reached. One attempt at a time.
  virtual void connect(std::move_only_function<void(std::unique_ptr<Channel>)> done) = 0;
};

}  // namespace perdure::mirror
