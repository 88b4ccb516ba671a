#include "server/pair/peer_channel.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <asio/io_context.hpp>
#include <asio/ip/tcp.hpp>
#include <asio/ssl/host_name_verification.hpp>
#include <asio/ssl/stream.hpp>
#include <asio/write.hpp>
#include <cstring>
#include <deque>

#include "base/check.h"
#include "server/listener.h"
#include "server/socket_address.h"

namespace perdure::server {

namespace {

using Tcp = asio::ip::tcp;
using TlsStream = asio::ssl::stream<Tcp::socket>;

constexpr size_t length_bytes = 4;
constexpr size_t receive_bytes = 256U << 10U;
constexpr size_t send_bytes = 256U << 10U;
// Strangers can take no more than this.
constexpr size_t handshakes_max = 32;

// The subject's common name of a certificate.
std::string common_name(X509* certificate) {
  char text[256] = {};
  const int length =
      X509_NAME_get_text_by_NID(X509_get_subject_name(certificate), NID_commonName, text, sizeof text);
  return length > 0 ? std::string(text, static_cast<size_t>(length)) : std::string();
}

// Beside what OpenSSL checks: who it is.
void expect_peer(TlsStream& stream, const std::string& peer) {
  stream.set_verify_callback([peer](bool verified, asio::ssl::verify_context& context) {
    X509_STORE_CTX* store = context.native_handle();
    if (!verified || X509_STORE_CTX_get_error_depth(store) != 0) return verified;
    return common_name(X509_STORE_CTX_get_current_cert(store)) == peer;
  });
}

class TlsChannel final : public mirror::Channel {
 public:
  explicit TlsChannel(std::unique_ptr<TlsStream> stream) : core_(std::make_shared<Core>(std::move(stream))) {}
  ~TlsChannel() override { core_->close(); }

  void set_handler(Handler handler) override {
    const bool first = core_->handler == nullptr;
    core_->handler = std::make_shared<Handler>(std::move(handler));
    if (first) core_->receive();
  }
  void send(Bytes message, std::vector<PageRef> pages) override { core_->send(message, std::move(pages)); }
  size_t unsent_bytes() const override { return core_->unsent; }

 private:
  struct Outgoing {
    ByteVector head;  // length and message
    std::vector<PageRef> pages;
  };

  // Lives as long as something is under way.
  struct Core : std::enable_shared_from_this<Core> {
    explicit Core(std::unique_ptr<TlsStream> s) : stream(std::move(s)), in(receive_bytes) {}

    void close() {
      if (std::exchange(closed, true)) return;
      asio::error_code ignored;
      stream->lowest_layer().close(ignored);
      handler = nullptr;
      queue.clear();
    }
    void fail(const std::string& why) {
      if (closed) return;
      spdlog::debug("the channel to the peer breaks: {}", why);
      const std::shared_ptr<Handler> last = handler;
      close();
      if (last != nullptr) last->closed();
    }

    // ---- receiving
    void receive() {
      stream->async_read_some(asio::buffer(in.data() + end, in.size() - end),
                              [self = shared_from_this()](const asio::error_code& problem, size_t n) {
                                if (self->closed) return;
                                if (problem) return self->fail(problem.message());
                                self->end += n;
                                self->take_messages();
                              });
    }
    void take_messages() {
      while (end - begin >= length_bytes) {
        uint32_t length = 0;
        std::memcpy(&length, in.data() + begin, sizeof length);
        if (length == 0 || length > mirror::message_bytes_max + mirror::frame_bytes_max)
          return fail("a message of an impossible length");
        const size_t whole = length_bytes + length;
        if (end - begin < whole) {
          make_room(whole);
          break;
        }
        const Bytes message(in.data() + begin + length_bytes, length);
        begin += whole;
        const std::shared_ptr<Handler> now = handler;  // it may be exchanged by the call
        now->received(message);
        if (closed) return;
      }
      if (begin == end) {
        begin = end = 0;
        if (in.size() > receive_bytes) in = ByteVector(receive_bytes);
      } else if (in.size() - end < receive_bytes / 4) {
        make_room(receive_bytes);
      }
      receive();
    }
    // For a message of so many bytes that begins at `begin`.
    void make_room(size_t bytes) {
      if (in.size() - begin >= bytes) return;
      std::memmove(in.data(), in.data() + begin, end - begin);
      end -= std::exchange(begin, 0);
      if (in.size() < bytes) in.resize(bytes);
    }

    // ---- sending
    void send(Bytes message, std::vector<PageRef> pages) {
      if (closed) return;
      const size_t length = message.size() + pages.size() * block_bytes;
      CHECK(length != 0 && length <= mirror::message_bytes_max + mirror::frame_bytes_max);
      const auto number = static_cast<uint32_t>(length);
      ByteVector head(length_bytes + message.size());
      std::memcpy(head.data(), &number, sizeof number);
      std::memcpy(head.data() + length_bytes, message.data(), message.size());
      unsent += length_bytes + length;
      queue.push_back({std::move(head), std::move(pages)});
      if (!writing) write();
    }
    void write() {
      writing = true;
      out.clear();
      while (!queue.empty() && out.size() < send_bytes) {
        const Outgoing& next = queue.front();
        out.insert(out.end(), next.head.begin(), next.head.end());
        for (const PageRef& page : next.pages) {
          const Bytes bytes = page.bytes();
          out.insert(out.end(), bytes.begin(), bytes.end());
        }
        queue.pop_front();
      }
      asio::async_write(*stream, asio::buffer(out),
                        [self = shared_from_this()](const asio::error_code& problem, size_t) {
                          if (self->closed) return;
                          if (problem) return self->fail(problem.message());
                          self->unsent -= self->out.size();
                          self->writing = false;
                          if (!self->queue.empty()) self->write();
                        });
    }

    std::unique_ptr<TlsStream> stream;
    std::shared_ptr<Handler> handler;
    bool closed = false;
    ByteVector in;
    size_t begin = 0, end = 0;  // what is there and has not been taken
    std::deque<Outgoing> queue;
    ByteVector out;  // being written
    size_t unsent = 0;
    bool writing = false;
  };
  const std::shared_ptr<Core> core_;
};

// A TCP connection becomes a channel, or nothing. `done` is called once.
class Handshake : public std::enable_shared_from_this<Handshake> {
 public:
  using Done = std::move_only_function<void(std::unique_ptr<mirror::Channel>, const std::string& problem)>;
  Handshake(env::Env& env, const PeerOptions& options, Tcp::socket socket, Done done)
      : env_(env),
        options_(options),
        stream_(std::make_unique<TlsStream>(std::move(socket), *options.tls)),
        done_(std::move(done)) {
    expect_peer(*stream_, options.peer);
    asio::error_code ignored;
    stream_->lowest_layer().set_option(Tcp::no_delay(true), ignored);
  }
  void run(TlsStream::handshake_type side) {
    timer_ = env_.after(options_.handshake_max,
                        [self = shared_from_this()] { self->finish("no answer in time"); });
    stream_->async_handshake(side, [self = shared_from_this()](const asio::error_code& problem) {
      self->finish(problem ? problem.message() : std::string());
    });
  }

 private:
  void finish(const std::string& problem) {
    if (!done_) return;
    env_.cancel(timer_);
    Done done = std::exchange(done_, nullptr);
    if (problem.empty()) return done(std::make_unique<TlsChannel>(std::move(stream_)), problem);
    asio::error_code ignored;
    stream_->lowest_layer().close(ignored);
    done(nullptr, problem);
  }

  env::Env& env_;
  const PeerOptions& options_;
  std::unique_ptr<TlsStream> stream_;
  Done done_;
  env::TimerId timer_{};
};

}  // namespace

// ------------------------------------------------------------------------------------------------ listening

struct PeerListener::Impl : std::enable_shared_from_this<Impl> {
  Impl(env::Env& e, asio::io_context& c, PeerOptions o, Accepted a)
      : env(e), context(c), options(std::move(o)), accepted(std::move(a)) {}

  void accept(size_t i) {
    acceptors[i].async_accept(
        [self = shared_from_this(), i](const asio::error_code& problem, Tcp::socket socket) {
          if (self->closed) return;
          if (problem) {  // of descriptors, most likely
            self->env.after(std::chrono::milliseconds(100), [self, i] {
              if (!self->closed) self->accept(i);
            });
            return;
          }
          if (self->handshakes < handshakes_max) self->greet(std::move(socket));
          self->accept(i);
        });
  }
  void greet(Tcp::socket socket) {
    ++handshakes;
    std::make_shared<Handshake>(
        env, options, std::move(socket),
        [self = shared_from_this()](std::unique_ptr<mirror::Channel> channel, const std::string& problem) {
          --self->handshakes;
          if (self->closed) return;
          if (channel != nullptr) return self->accepted(std::move(channel));
          spdlog::debug("somebody connected to this blade, and is not its peer: {}", problem);
        })
        ->run(TlsStream::server);
  }

  env::Env& env;
  asio::io_context& context;
  const PeerOptions options;
  const Accepted accepted;
  std::vector<Tcp::acceptor> acceptors;
  size_t handshakes = 0;
  bool closed = false;
};

PeerListener::PeerListener(env::Env& env, asio::io_context& context, PeerOptions options, Accepted accepted)
    : impl_(std::make_shared<Impl>(env, context, std::move(options), std::move(accepted))) {}

PeerListener::~PeerListener() {
  impl_->closed = true;
  asio::error_code ignored;
  for (Tcp::acceptor& acceptor : impl_->acceptors) acceptor.close(ignored);
}

Result<void> PeerListener::listen(const wire::Address& address) {
  const int fd = TRY(open_listening_socket(address, true));  // it may come with the cable
  Tcp::acceptor acceptor(impl_->context);
  asio::error_code problem;
  acceptor.assign(address.is_v6 ? Tcp::v6() : Tcp::v4(), fd, problem);
  CHECK(!problem);
  impl_->acceptors.push_back(std::move(acceptor));
  impl_->accept(impl_->acceptors.size() - 1);
  return {};
}

wire::Address PeerListener::address() const {
  return local_address(impl_->acceptors.front().native_handle());
}

// ----------------------------------------------------------------------------------------------- connecting

struct PeerConnector::Impl : std::enable_shared_from_this<Impl> {
  Impl(env::Env& e, asio::io_context& c, const wire::Address& a, PeerOptions o)
      : env(e), context(c), address(a), options(std::move(o)) {}

  struct Attempt {
    explicit Attempt(asio::io_context& context) : socket(context) {}
    Tcp::socket socket;
    env::TimerId timer{};
    bool ended = false;
  };

  void attempt() {
    sockaddr_storage to;
    const socklen_t length = to_kernel(address, to);
    Tcp::endpoint endpoint;
    std::memcpy(endpoint.data(), &to, length);
    endpoint.resize(length);
    auto a = std::make_shared<Attempt>(context);
    const auto ended = [self = shared_from_this(), a](const std::string& problem) {
      if (std::exchange(a->ended, true)) return;
      self->env.cancel(a->timer);
      asio::error_code ignored;
      if (self->closed || !problem.empty()) a->socket.close(ignored);
      if (self->closed) return;
      if (problem.empty()) return self->greet(std::move(a->socket));
      self->failed(problem);
    };
    a->timer = env.after(options.connect_max, [ended] { ended("no answer in time"); });
    a->socket.async_connect(endpoint, [ended](const asio::error_code& problem) {
      ended(problem ? problem.message() : std::string());
    });
  }
  void greet(Tcp::socket socket) {
    std::make_shared<Handshake>(
        env, options, std::move(socket),
        [self = shared_from_this()](std::unique_ptr<mirror::Channel> channel, const std::string& problem) {
          if (self->closed) return;
          if (channel == nullptr) return self->failed(problem);
          self->said.clear();
          std::exchange(self->done, nullptr)(std::move(channel));
        })
        ->run(TlsStream::client);
  }
  void failed(const std::string& problem) {
    // Once, not at each of many attempts.
    std::string text = fmt::format("cannot reach {} at {}: {}", options.peer, to_string(address), problem);
    if (text != said) spdlog::info("{}", text);
    said = std::move(text);
    std::exchange(done, nullptr)(nullptr);
  }

  env::Env& env;
  asio::io_context& context;
  const wire::Address address;
  const PeerOptions options;
  std::move_only_function<void(std::unique_ptr<mirror::Channel>)> done;
  std::string said;
  bool closed = false;
};

PeerConnector::PeerConnector(env::Env& env, asio::io_context& context, const wire::Address& address,
                             PeerOptions options)
    : impl_(std::make_shared<Impl>(env, context, address, std::move(options))) {}

PeerConnector::~PeerConnector() {
  impl_->closed = true;
}

void PeerConnector::connect(std::move_only_function<void(std::unique_ptr<mirror::Channel>)> done) {
  CHECK(impl_->done == nullptr);
  impl_->done = std::move(done);
  impl_->attempt();
}

}  // namespace perdure::server
