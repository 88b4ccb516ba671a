#include "server/connection.h"

#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <asio/io_context.hpp>
#include <asio/posix/stream_descriptor.hpp>
#include <cerrno>

namespace perdure::server {

struct Connection::Socket {
  Socket(asio::io_context& context, int fd) : descriptor(context) {
    asio::error_code failure;
    descriptor.assign(fd, failure);
    // Waiting for it will fail, which ends the connection.
    if (failure) ::close(fd);
  }
  int fd() { return descriptor.native_handle(); }
  // Only waited with: the system calls are made here.
  asio::posix::stream_descriptor descriptor;
};

namespace {

using asio::posix::descriptor_base;

// Linux takes no more in one sendmsg() (UIO_MAXIOV).
constexpr size_t pieces_max = 1024;

}  // namespace

Connection::Connection(Owner& owner, asio::io_context& context, int descriptor, wire::ConnectionId id,
                       const Ends& ends, const ConnectionLimits& limits)
    : owner_(&owner),
      socket_(std::make_unique<Socket>(context, descriptor)),
      id_(id),
      ends_(ends),
      limits_(limits),
      meter_(wire::ReceiveMeter::make(this, [](void* self) { static_cast<Connection*>(self)->released(); })),
      reader_(limits.records, meter_),
      last_active_(owner.now()),
      last_taken_(last_active_) {}

Connection::~Connection() {
  meter_->disown();
  meter_->unref();
}

void Connection::end_turn() {
  touched_ = false;
  if (closed_) return;
  if (!waits_writable_) flush();
  if (closed_) return;
  if (paused_) {
    released();
    return;
  }
  if (meter_->requests() == 0) reader_.trim();
  if (!waits_readable_) wait_readable();
}

// ---- reading

void Connection::wait_readable() {
  waits_readable_ = true;
  socket_->descriptor.async_wait(descriptor_base::wait_read,
                                 [self = shared_from_this()](const asio::error_code& e) {
                                   self->waits_readable_ = false;
                                   if (self->closed_) return;
                                   if (e)
                                     self->fail();
                                   else
                                     self->readable();
                                 });
}

void Connection::readable() {
  if (owner_->starved(*this)) {
    paused_ = starved_ = true;
    return;
  }
  const MutableBytes room = reader_.room();
  const ssize_t n = ::recv(socket_->fd(), room.data(), room.size(), MSG_DONTWAIT);
  if (n > 0) {
    last_active_ = owner_->now();
    reader_.received(static_cast<size_t>(n));
    deliver_records();
    return;
  }
  const bool nothing_there = n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR);
  if (nothing_there)
    touch();
  else
    fail();
}

void Connection::deliver_records() {
  wire::Record record;
  bool new_record = false;
  while (!closed_) {
    if (over_limit()) {
      paused_ = true;
      break;
    }
    const wire::RecordReader::Next next = reader_.next(record);
    if (next == wire::RecordReader::Next::broken) return fail();
    if (next == wire::RecordReader::Next::more) break;
    new_record = true;
    owner_->deliver({record.message, std::move(record.chunk), wire::Ticket(*meter_), id_, ends_.peer});
  }
  if (closed_) return;
  note_partial_record(new_record);
  touch();
}

// The time for a record runs from when its first byte is here.
void Connection::note_partial_record(bool new_record) {
  const bool partial = reader_.partial();
  if (partial && (new_record || !was_partial_)) partial_since_ = last_active_;
  was_partial_ = partial;
}

bool Connection::over_limit() const {
  // Without a request in flight the memory is that of one record, which must come in whatever the limit is.
  const bool much_memory = meter_->chunk_bytes() > limits_.chunk_bytes_max && meter_->requests() > 0;
  return much_memory || meter_->requests() >= limits_.requests_max ||
         unsent_bytes_ >= limits_.unsent_bytes_max;
}

// Something was given back, or sent.
void Connection::released() {
  if (closed_) return;
  if (paused_ && !starved_ && !resuming_ && !over_limit()) {
    resuming_ = true;
    owner_->resumable(*this);
  }
  if (meter_->requests() == 0 && meter_->chunk_bytes() > 0) touch();
}

void Connection::resume() {
  resuming_ = false;
  if (closed_ || !paused_) return;
  // Where it was paused for its own requests, the time for a half record starts anew.
  if (!starved_) was_partial_ = false;
  paused_ = starved_ = false;
  deliver_records();
}

// ---- writing

void Connection::send(wire::Reply&& message) {
  if (closed_) return;
  message.put_record_mark();
  if (unsent_bytes_ == 0) last_taken_ = owner_->now();
  unsent_bytes_ += message.size();
  unsent_.push_back(std::move(message));
  touch();
}

void Connection::flush() {
  while (unsent_bytes_ > 0) {
    std::array<iovec, pieces_max> pieces;
    size_t count = 0;
    size_t bytes = 0;
    size_t offset = unsent_offset_;
    for (size_t i = unsent_first_; i < unsent_.size() && count < pieces.size(); ++i, offset = 0) {
      unsent_[i].for_each_piece(offset, [&](Bytes piece) {
        pieces[count++] = {const_cast<std::byte*>(piece.data()), piece.size()};
        bytes += piece.size();
        return count < pieces.size();
      });
    }
    msghdr message{};
    message.msg_iov = pieces.data();
    message.msg_iovlen = count;
    const ssize_t n = ::sendmsg(socket_->fd(), &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno != EAGAIN && errno != EWOULDBLOCK) return fail();
    if (n > 0) sent(static_cast<size_t>(n));
    if (n < 0 || static_cast<size_t>(n) < bytes) return wait_writable();
  }
}

void Connection::sent(size_t n) {
  last_taken_ = owner_->now();
  unsent_bytes_ -= n;
  n += unsent_offset_;
  while (unsent_first_ < unsent_.size() && n >= unsent_[unsent_first_].size()) {
    n -= unsent_[unsent_first_].size();
    unsent_[unsent_first_].clear();
    ++unsent_first_;
  }
  unsent_offset_ = n;
  // The vector keeps its memory while replies come and go, but not after a burst.
  constexpr size_t kept_max = 32;
  if (unsent_first_ == unsent_.size()) {
    unsent_first_ = 0;
    if (unsent_.capacity() > kept_max)
      std::vector<wire::Reply>().swap(unsent_);
    else
      unsent_.clear();
  } else if (unsent_first_ >= kept_max && unsent_first_ >= unsent_.size() / 2) {
    unsent_.erase(unsent_.begin(), unsent_.begin() + static_cast<ptrdiff_t>(unsent_first_));
    unsent_first_ = 0;
  }
}

void Connection::wait_writable() {
  waits_writable_ = true;
  socket_->descriptor.async_wait(descriptor_base::wait_write,
                                 [self = shared_from_this()](const asio::error_code& e) {
                                   self->waits_writable_ = false;
                                   if (self->closed_) return;
                                   if (e)
                                     self->fail();
                                   else
                                     self->touch();
                                 });
}

// ---- ends

bool Connection::overdue(env::Instant now) const {
  const bool half_record =
      was_partial_ && (!paused_ || starved_) && now - partial_since_ > limits_.half_record_max;
  const bool slow_reader = unsent_bytes_ > 0 && now - last_taken_ > limits_.slow_reader_max;
  return half_record || slow_reader;
}

void Connection::touch() {
  if (touched_) return;
  touched_ = true;
  owner_->touched(*this);
}

void Connection::fail() {
  Owner* owner = owner_;
  close();
  owner->failed(*this);
}

void Connection::close() {
  if (closed_) return;
  closed_ = true;
  asio::error_code ignored;
  socket_->descriptor.close(ignored);
  unsent_.clear();
  unsent_bytes_ = 0;
  reader_ = wire::RecordReader(limits_.records, meter_);
}

}  // namespace perdure::server
