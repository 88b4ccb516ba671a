#include "bench/connection.h"

#include <netdb.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "wire/xdr_decoder.h"

namespace perdure::bench {
namespace {

constexpr size_t mark_bytes = 4;
constexpr uint32_t last_fragment = 0x80000000;
constexpr size_t buffer_bytes = 256 << 10;
constexpr size_t gather_max = 64;

// Of a record with a mark at `at`.
uint32_t fragment_bytes(const std::byte* at) {
  return wire::load_u32(at) & ~last_fragment;
}

}  // namespace

Result<Address> resolve(const std::string& host_and_port) {
  std::string host = host_and_port;
  std::string port = "2049";
  const size_t colon = host.rfind(':');
  const bool bracketed = host.ends_with(']');
  if (colon != std::string::npos && !bracketed && (host.find(':') == colon || host.starts_with('['))) {
    port = host.substr(colon + 1);
    host.resize(colon);
  }
  if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* list = nullptr;
  const int failure = getaddrinfo(host.c_str(), port.c_str(), &hints, &list);
  if (failure != 0) return error(ErrorKind::invalid, "server {}: {}", host_and_port, gai_strerror(failure));
  Address address;
  address.length = list->ai_addrlen;
  std::memcpy(&address.storage, list->ai_addr, list->ai_addrlen);
  freeaddrinfo(list);
  return address;
}

Connection::Connection(Loop& loop, Events& events, size_t record_bytes_max)
    : loop_(loop),
      events_(events),
      record_bytes_max_(record_bytes_max),
      buffer_(std::make_unique_for_overwrite<std::byte[]>(buffer_bytes)),
      capacity_(buffer_bytes) {}

void Connection::connect(const Address& address) {
  CHECK(state_ == State::closed);
  fd_ = socket(address.storage.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  CHECK(fd_ >= 0);
  const int on = 1;
  setsockopt(fd_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  state_ = State::connecting;
  ++opened_;
  const int started = ::connect(fd_, reinterpret_cast<const sockaddr*>(&address.storage), address.length);
  if (started != 0 && errno != EINPROGRESS) {
    // As if the loop had told it: the caller expects no event before it returns.
    const std::string why = std::strerror(errno);
    ::close(std::exchange(fd_, -1));
    loop_.at(0, [this, why, opened = opened_] {
      if (opened != opened_ || state_ != State::connecting) return;
      state_ = State::closed;
      events_.on_lost(*this, why);
    });
    return;
  }
  loop_.add(fd_, EPOLLOUT, *this);
}

void Connection::close() {
  if (fd_ >= 0) {
    loop_.remove(fd_);
    ::close(std::exchange(fd_, -1));
  }
  state_ = State::closed;
  wants_output_ = false;
  queue_.clear();
  queue_head_ = head_offset_ = 0;
  cut_after_ = SIZE_MAX;
  begin_ = end_ = 0;
  fragments_.clear();
}

void Connection::lose(const std::string& why) {
  close();
  events_.on_lost(*this, why);
}

void Connection::on_ready(uint32_t epoll_events) {
  if (state_ == State::closed) return;
  if (state_ == State::connecting) return finish_connect();
  if ((epoll_events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0) receive();
  if (state_ == State::open && (epoll_events & EPOLLOUT) != 0) flush();
}

void Connection::finish_connect() {
  int failure = 0;
  socklen_t length = sizeof failure;
  getsockopt(fd_, SOL_SOCKET, SO_ERROR, &failure, &length);
  if (failure != 0) return lose(std::strerror(failure));
  state_ = State::open;
  loop_.modify(fd_, EPOLLIN, *this);
  events_.on_connected(*this);
}

bool Connection::sent(Bytes record) const {
  for (size_t i = queue_head_; i < queue_.size(); ++i) {
    if (queue_[i].data() == record.data()) return false;
  }
  return true;
}

void Connection::flush() {
  while (state_ == State::open && queue_head_ < queue_.size()) {
    iovec pieces[gather_max];
    size_t n = 0;
    size_t room = cut_after_;
    for (size_t i = queue_head_; i < queue_.size() && n < gather_max && room > 0; ++i, ++n) {
      const Bytes rest = queue_[i].subspan(i == queue_head_ ? head_offset_ : 0);
      const size_t length = std::min(rest.size(), room);
      pieces[n] = {const_cast<std::byte*>(rest.data()), length};
      room -= length;
    }
    msghdr message{};
    message.msg_iov = pieces;
    message.msg_iovlen = n;
    const ssize_t done = n == 0 ? 0 : sendmsg(fd_, &message, MSG_NOSIGNAL);
    if (done < 0 && errno == EAGAIN) return want_output(true);
    if (done < 0) return lose(std::strerror(errno));
    auto left = static_cast<size_t>(done);
    if (cut_after_ != SIZE_MAX) {
      cut_after_ -= left;
      if (cut_after_ == 0) return lose("cut on purpose");
    }
    while (left > 0) {
      const size_t rest = queue_[queue_head_].size() - head_offset_;
      const size_t taken = std::min(left, rest);
      left -= taken;
      head_offset_ += taken;
      if (taken == rest) {
        ++queue_head_;
        head_offset_ = 0;
      }
    }
  }
  if (state_ != State::open) return;
  queue_.clear();
  queue_head_ = 0;
  want_output(false);
}

void Connection::want_output(bool wanted) {
  if (wanted == wants_output_) return;
  wants_output_ = wanted;
  loop_.modify(fd_, wanted ? EPOLLIN | EPOLLOUT : EPOLLIN, *this);
}

void Connection::receive() {
  for (;;) {
    make_room();
    size_t room = capacity_ - end_;
    // The rest of a big record is read alone, so that nothing behind it has to be moved later.
    if (end_ - begin_ >= mark_bytes) {
      const size_t whole = mark_bytes + fragment_bytes(buffer_.get() + begin_);
      if (whole > buffer_bytes / 4) room = std::min(room, whole - (end_ - begin_));
    }
    const ssize_t n = recv(fd_, buffer_.get() + end_, room, 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (n < 0) return lose(std::strerror(errno));
    if (n == 0) return lose("closed by the server");
    end_ += static_cast<size_t>(n);
    if (!deliver() || static_cast<size_t>(n) < room) return;
  }
}

// Room for the record at begin_, whole, and for at least a mark.
void Connection::make_room() {
  size_t needed = mark_bytes;
  if (end_ - begin_ >= mark_bytes) needed += fragment_bytes(buffer_.get() + begin_);
  if (begin_ == end_) begin_ = end_ = 0;
  // Small records: moving what is left to the front once the buffer is nearly full is cheap.
  if (begin_ + needed <= capacity_ && (needed > mark_bytes || capacity_ - end_ >= buffer_bytes / 4)) return;
  if (needed <= capacity_) {
    std::memmove(buffer_.get(), buffer_.get() + begin_, end_ - begin_);
  } else {
    auto bigger = std::make_unique_for_overwrite<std::byte[]>(needed + buffer_bytes);
    std::memcpy(bigger.get(), buffer_.get() + begin_, end_ - begin_);
    buffer_ = std::move(bigger);
    capacity_ = needed + buffer_bytes;
  }
  end_ -= begin_;
  begin_ = 0;
}

bool Connection::deliver() {
  const uint64_t opened = opened_;
  while (end_ - begin_ >= mark_bytes) {
    const std::byte* mark = buffer_.get() + begin_;
    const size_t length = fragment_bytes(mark);
    const bool last = (wire::load_u32(mark) & last_fragment) != 0;
    if (length + fragments_.size() > record_bytes_max_) {
      lose(fmt::format("a reply of {} bytes or more", length + fragments_.size()));
      return false;
    }
    if (end_ - begin_ < mark_bytes + length) return true;
    Bytes record(mark + mark_bytes, length);
    begin_ += mark_bytes + length;
    if (!last || !fragments_.empty()) {
      fragments_.insert(fragments_.end(), record.begin(), record.end());
      if (!last) continue;
      record = fragments_;
    }
    events_.on_record(*this, record);
    if (state_ != State::open || opened_ != opened) return false;
    fragments_.clear();
  }
  return true;
}

}  // namespace perdure::bench
