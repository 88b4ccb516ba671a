#include "mirror/sender.h"

#include <spdlog/spdlog.h>

#include <algorithm>

#include "base/crc32c.h"

namespace perdure::mirror {

namespace {
// Sent and not acknowledged; beyond it the log waits in the ring.
constexpr uint64_t window_bytes = 32U << 20U;
// Who takes less than this is given up. When he is back, he asks for what he turns out to lack.
constexpr size_t unsent_bytes_max = 256U << 20U;
constexpr size_t wanted_max = 1U << 16U;
// With so much on its way nothing more is read for the follower.
constexpr size_t wanted_unsent_max = 8U << 20U;
}  // namespace

Sender::Sender(env::Env& env, Replica& replica, std::unique_ptr<Channel> channel, Start follower, Hooks hooks)
    : env_(env),
      replica_(replica),
      channel_(std::move(channel)),
      follower_(std::move(follower)),
      hooks_(std::move(hooks)),
      self_(std::make_shared<Sender*>(this)) {
  channel_->set_handler({.received = [this](Bytes message) { received(message); },
                         .closed = [this] { broken("it is closed"); }});
}

Sender::~Sender() {
  retire();
  *self_ = nullptr;
  if (copying_) replica_.release_log();
}

void Sender::retire() {
  retired_ = true;
  for (auto& [block, waiting] : std::exchange(asked_for_, {}))
    env_.post([done = std::move(waiting)]() mutable {
      done(error(ErrorKind::io, "the channel to the peer has ended"));
    });
}

// Ends with this call, or soon after it.
void Sender::broken(const char* why) {
  if (retired_ || !hooks_.broken) return;
  spdlog::info("the channel to the peer is given up: {}", why);
  std::exchange(hooks_.broken, nullptr)();
}

void Sender::welcome(const Welcome& welcome) {
  channel_->send(encode_message(welcome));
}

// It begins anew.
void Sender::refuse(Refused::Why why) {
  refused_ = true;
  following_ = false;
  channel_->send(encode_message(Refused{why}));
}

void Sender::beacon() {
  const auto now = static_cast<uint64_t>(env_.now().time_since_epoch().count());
  const Lsn durable = replica_.commit().durable() - Lsn(log::batch_header_bytes);
  channel_->send(encode_message(Beacon{now, durable}));
}

void Sender::in_sync(Epoch epoch) {
  channel_->send(encode_message(InSync{epoch}));
}

void Sender::hand_over() {
  pump();
  channel_->send(encode_message(HandOver{}));
}

void Sender::leave(const ByteVector& legacy) {
  channel_->send(encode_message(Legacy{legacy}));
}

void Sender::received(Bytes bytes) {
  if (retired_ || refused_) return;
  const Result<Message> message = decode_message(bytes);
  if (!message) return broken(message.error().message.c_str());
  if (const auto* follow = std::get_if<Follow>(&*message)) return take(*follow);
  if (const auto* ack = std::get_if<Ack>(&*message)) return take(*ack);
  if (const auto* want = std::get_if<WantBlocks>(&*message)) return take(*want);
  if (const auto* want = std::get_if<WantRows>(&*message)) return take(*want);
  if (const auto* blocks = std::get_if<Blocks>(&*message)) return take(*blocks);
  if (std::get_if<WantHandOver>(&*message) != nullptr) return hooks_.hand_over_wanted();
  broken("a message that makes no sense now");
}

void Sender::take(const Follow& follow) {
  const log::GroupCommit& commit = replica_.commit();
  if (following_ || follow.from > commit.closed_end() || follow.from.value % log::sector_bytes != 0)
    return broken("a message that makes no sense now");
  const log::LogRing& ring = replica_.ring();
  const uint64_t behind = (ring.position() - std::min(follow.from, ring.position())).value;
  if (behind > ring.capacity()) return refuse(Refused::Why::log_gone);
  following_ = true;
  sent_ = ack_.received = follow.from;
  told_frozen_ = replica_.frozen();
  channel_->send(encode_message(Following{commit.closed_end()}));
  pump();
}

void Sender::take(const Ack& ack) {
  const auto now = static_cast<uint64_t>(env_.now().time_since_epoch().count());
  if (!following_ || ack.received > sent_ || ack.received < ack_.received || ack.stable > ack.received ||
      ack.time > now)
    return broken("a message that makes no sense now");
  ack_ = ack;
  // It has what was kept for it, and reads on faster than the ring is written, or begins anew.
  if (ack.received == replica_.commit().closed_end() && std::exchange(copying_, false))
    replica_.release_log();
  hooks_.acked();
}

void Sender::pump() {
  read_wanted();
  send_log();
  if (following_) tell_frozen();
}

void Sender::send_log() {
  while (following_ && !reading_ && (sent_ - ack_.received).value < window_bytes) {
    const log::GroupCommit& commit = replica_.commit();
    if (sent_ >= commit.closed_end()) return;
    if (const auto batch = commit.closed_batch(sent_)) {
      send_batch(batch->start, batch->epoch, batch->payload, batch->end);
      continue;
    }
    reading_ = true;
    replica_.ring().read_batch(sent_, [this, self = self_](Result<log::LogRing::ReadBatch> batch) {
      if (*self == nullptr || retired_) return;
      reading_ = false;
      if (!batch && batch.error().kind == ErrorKind::not_found) return refuse(Refused::Why::log_gone);
      if (!batch) return broken(batch.error().message.c_str());
      send_batch(batch->info.start, batch->info.epoch, batch->payload, batch->info.end);
      pump();
    });
  }
}

void Sender::send_batch(Lsn start, Epoch epoch, Bytes payload, Lsn end) {
  ByteVector message = encode_message(Batch{start, epoch, crc32c(payload), {}});
  message.insert(message.end(), payload.begin(), payload.end());
  channel_->send(message);
  sent_ = end;
}

// Behind what it is about, and once: a follower that comes later makes its checkpoints when it must.
void Sender::tell_frozen() {
  const Lsn frozen = replica_.frozen();
  if (frozen <= told_frozen_ || frozen > sent_ + Lsn(log::batch_header_bytes)) return;
  told_frozen_ = frozen;
  channel_->send(encode_message(Frozen{frozen}));
}

void Sender::wrote(BlockNo first, std::span<const PageRef> pages) {
  if (!following_) return;
  if (channel_->unsent_bytes() > unsent_bytes_max) return broken("the follower is too slow");
  if (reading_wanted_)  // what is being read may be older: it must not arrive behind this
    for (uint64_t i = 0; i < wanted_now_.count; ++i)
      if (const BlockNo block = wanted_now_.first + BlockNo(i);
          block >= first && block < first + BlockNo(pages.size()))
        superseded_[i] = true;
  send_blocks(first, pages);
}

void Sender::send_blocks(BlockNo first, std::span<const PageRef> pages) {
  while (!pages.empty()) {
    const size_t n = std::min<size_t>(pages.size(), blocks_per_message);
    channel_->send(encode_message(Blocks{first, {}}),
                   std::vector<PageRef>(pages.begin(), pages.begin() + static_cast<ptrdiff_t>(n)));
    first += BlockNo(n);
    pages = pages.subspan(n);
  }
}

void Sender::ask_for(BlockNo block, env::Done<PageRef> done) {
  CHECK(!retired_);
  asked_for_.emplace(block, std::move(done));
  channel_->send(encode_message(WantBlocks{block, 1}));
}

void Sender::take(const Blocks& blocks) {
  PageRef page = make_page();
  std::memcpy(page.mutable_bytes().data(), blocks.content.data(), block_bytes);
  const auto it = asked_for_.find(blocks.first);
  if (it == asked_for_.end() || blocks.content.size() != block_bytes)
    return broken("a message that makes no sense now");
  env::Done<PageRef> done = std::move(it->second);
  asked_for_.erase(it);
  done(std::move(page));
}

void Sender::take(const WantBlocks& want) {
  if ((!following_ && !copying_) || want.count == 0 || want.count > blocks_per_message ||
      wanted_.size() >= wanted_max || want.first.value == 0 ||
      want.first.value + want.count > replica_.blocks().capacity())
    return broken("a message that makes no sense now");
  wanted_.push_back(want);
  read_wanted();
}

// It asks again when it has written them.
void Sender::take(const WantRows& want) {
  if (following_ || scanning_ || (!copying_ && !want.first))
    return broken("a message that makes no sense now");
  copying_ = scanning_ = true;
  replica_.scan_rows(want, [this, self = self_](Result<Rows> rows) {
    if (*self == nullptr || retired_) return;
    scanning_ = false;
    if (!rows) return broken(rows.error().message.c_str());
    channel_->send(encode_message(*rows));
  });
}

// One after another, and none while it is being written. What is written later is sent, and must not arrive
// before.
void Sender::read_wanted() {
  if (wanted_.empty() || reading_wanted_ || channel_->unsent_bytes() > wanted_unsent_max)
    return;  // pump() tries again
  for (uint64_t i = 0; i < wanted_.front().count; ++i)
    if (replica_.blocks().being_written(wanted_.front().first + BlockNo(i))) return;  // pump() tries again
  reading_wanted_ = true;
  wanted_now_ = wanted_.front();
  wanted_.pop_front();
  superseded_.assign(wanted_now_.count, false);
  auto pages = std::make_shared<std::vector<PageRef>>(wanted_now_.count);
  replica_.blocks().read(wanted_now_.first, *pages, [this, self = self_, pages](Result<void> read) {
    if (*self == nullptr || retired_) return;
    if (!read) return read_wanted_singly(pages, 0);
    send_wanted(*pages);
  });
}

// Some of them cannot be read: they are sent as zeros, of which the follower finds that they are not what it
// wants.
void Sender::read_wanted_singly(const std::shared_ptr<std::vector<PageRef>>& pages, size_t index) {
  if (index == pages->size()) return send_wanted(*pages);
  replica_.blocks().read(wanted_now_.first + BlockNo(index), std::span(*pages).subspan(index, 1),
                         [this, self = self_, pages, index](Result<void> read) {
                           if (*self == nullptr || retired_) return;
                           if (!read) (*pages)[index] = zero_page();
                           read_wanted_singly(pages, index + 1);
                         });
}

void Sender::send_wanted(const std::vector<PageRef>& pages) {
  reading_wanted_ = false;
  for (size_t i = 0; i < pages.size(); ++i)
    if (!superseded_[i]) send_blocks(wanted_now_.first + BlockNo(i), std::span(&pages[i], 1));
  read_wanted();
}

}  // namespace perdure::mirror
