#include "mirror/messages.h"

#include "base/crc32c.h"
#include "state/codec.h"

namespace perdure::mirror {

namespace {

template <class M>
bool take(Decoder& d, M& message) {
  state::codec::decode_value(d, message);
  if constexpr (std::is_same_v<M, Batch>) {
    message.payload = d.get_bytes(d.remaining());
    return d.finished() && crc32c(message.payload) == message.payload_crc;
  } else if constexpr (std::is_same_v<M, Blocks>) {
    message.content = d.get_bytes(d.remaining());
    const size_t blocks = message.content.size() / block_bytes;
    return d.finished() && message.content.size() % block_bytes == 0 && blocks >= 1 &&
           blocks <= blocks_per_message;
  } else {
    return d.finished();
  }
}

// The type with this number, by trying one after another.
template <size_t i = 0>
bool take_type(uint8_t type, Decoder& d, Message& message) {
  if constexpr (i < std::variant_size_v<Message>) {
    using M = std::variant_alternative_t<i, Message>;
    if (M::type == type) return take(d, message.emplace<i>());
    return take_type<i + 1>(type, d, message);
  } else {
    return false;
  }
}

}  // namespace

ByteVector encode_message(const Message& message) {
  Encoder e;
  std::visit(
      [&e](const auto& m) {
        e.put(m.type);
        state::codec::encode_value(e, m);
      },
      message);
  return e.copy();
}

Result<Message> decode_message(Bytes bytes) {
  Decoder d(bytes);
  const auto type = d.get<uint8_t>();
  Message message;
  if (!d.ok() || !take_type(type, d, message))
    return error(ErrorKind::corrupt, "a message of the peer, of type {}, is not understood", type);
  return message;
}

}  // namespace perdure::mirror
