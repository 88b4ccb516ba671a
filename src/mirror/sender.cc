#include "mirror/sender.h"

#include <spdlog/spdlog.h>

#include <algorithm>

#include "base/crc32c.h"
#include "base/mark.h"
#include "base/planted_bug.h"

namespace perdure::mirror {

namespace {
// Sent and not acknowledged; beyond it the log waits in the ring. Of what was there before the follower came
// less: the later it is sent, the more of the blocks that it names are dead, or have come by themselves.
constexpr uint64_t window_bytes = 32U << 20U;
constexpr uint64_t old_window_bytes = 1U << 20U;
// Who takes less than this is given up. When he is back, he asks for what he turns out to lack.
constexpr size_t unsent_bytes_max = 256U << 20U;
constexpr size_t wanted_max = 1U << 16U;
constexpr size_t readings_max = 8;  // at a time
// Unsent: with more, nothing is read for a follower that does not tell what it has taken.
constexpr size_t wanted_unsent_max = 8U << 20U;
}  // namespace

Sender::Sender(env::Env& env, Replica& replica, std::unique_ptr<Channel> channel, Start follower,
               size_t blocks_on_the_way, Hooks hooks)
    : env_(env),
      replica_(replica),
      channel_(std::move(channel)),
      follower_(std::move(follower)),
      blocks_on_the_way_(blocks_on_the_way),
      hooks_(std::move(hooks)),
      self_(std::make_shared<Sender*>(this)) {
  channel_->set_handler({.received = [this](Bytes message) { received(message); },
                         .closed = [this] { broken("it is closed"); }});
}

Sender::~Sender() {
  retire();
  *self_ = nullptr;
}

void Sender::retire() {
  if (std::exchange(retired_, true)) return;
  release_log();
  for (auto& [block, waiting] : std::exchange(asked_for_, {}))
    env_.post([done = std::move(waiting)]() mutable {
      done(error(ErrorKind::io, "the channel to the peer has ended"));
    });
}

void Sender::release_log() {
  if (copying_ || flows_) replica_.hold_log(std::nullopt, false);
}

env::Duration Sender::silence() const {
  return following_ || (flows_ && has_flow_) ? env_.now() - heard_ : env::Duration();
}

// Ends with this call, or soon after it.
void Sender::broken(const char* why) {
  if (retired_ || !hooks_.broken) return;
  spdlog::info("the channel to the peer is given up: {}", why);
  std::exchange(hooks_.broken, nullptr)();
}

void Sender::welcome(const Welcome& welcome) {
  has_flow_ = welcome.version >= protocol_version_flow;
  channel_->send(encode_message(welcome));
}

// It begins anew.
void Sender::refuse(Refused::Why why) {
  refused_ = true;
  release_log();
  following_ = flows_ = copying_ = false;
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
  heard_ = env_.now();
  const Result<Message> message = decode_message(bytes);
  if (!message) return broken(message.error().message.c_str());
  if (const auto* follow = std::get_if<Follow>(&*message)) return take(*follow);
  if (const auto* ack = std::get_if<Ack>(&*message)) return take(*ack);
  if (const auto* taken = std::get_if<Taken>(&*message)) return take(*taken);
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
  if (flows_) {  // it has made its copy, and what it has got of the log is in it
    if (!copying_ || scanning_ || follow.from < ack_.received || follow.from > sent_)
      return broken("a message that makes no sense now");
    ack_.received = follow.from;
    copying_ = false;
  } else {
    const log::LogRing& ring = replica_.ring();
    const uint64_t behind = (ring.position() - std::min(follow.from, ring.position())).value;
    if (behind > ring.capacity()) return refuse(Refused::Why::log_gone);
    begin_log(follow.from);
  }
  following_ = true;
  told_frozen_ = replica_.frozen();
  pump();
}

void Sender::begin_log(Lsn from) {
  flows_ = true;
  heard_ = env_.now();
  sent_ = ack_.received = needed_ = from;
  live_ = replica_.commit().closed_end();
  channel_->send(encode_message(Following{live_}));
}

void Sender::take(const Ack& ack) {
  const auto now = static_cast<uint64_t>(env_.now().time_since_epoch().count());
  if (!flows_ || ack.received > sent_ || ack.received < ack_.received || ack.stable > ack.received ||
      ack.time > now)
    return broken("a message that makes no sense now");
  ack_ = ack;
  needed_ = ack.received;
  if (following_)
    hooks_.acked();
  else
    send_log();
}

void Sender::pump() {
  if (retired_) return;
  if (copying_ || flows_) replica_.hold_log(needed_, flows_);
  read_wanted();
  send_log();
  if (following_) tell_frozen();
}

void Sender::send_log() {
  while (flows_ && !reading_ &&
         (sent_ - ack_.received).value < (sent_ < live_ ? old_window_bytes : window_bytes)) {
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
  if (has_flow_ && end <= live_) tell_dead(payload);
  ByteVector message = encode_message(Batch{start, epoch, crc32c(payload), {}});
  message.insert(message.end(), payload.begin(), payload.end());
  channel_->send(message);
  sent_ = end;
}

// Most of what was written while the follower was away may have been written over since.
void Sender::tell_dead(Bytes payload) {
  const Result<std::vector<NamedBlocks>> named = replica_.named_blocks(payload);
  if (!named) return;
  Dead dead;
  for (const NamedBlocks& blocks : *named) {
    for (size_t i = 0; i < blocks.crcs.size(); ++i) {
      const BlockNo block = blocks.first + BlockNo(i);
      if (!replica_.is_dead(block) && !planted("a block in use is told of as dead")) continue;
      if (dead.ranges.empty() || dead.ranges.back().first + BlockNo(dead.ranges.back().count) != block)
        dead.ranges.push_back({block, 0});
      ++dead.ranges.back().count;
    }
  }
  if (dead.ranges.empty()) return;
  PERDURE_MARK("a mirror is told of dead blocks");
  channel_->send(encode_message(dead));
}

// Behind what it is about, and once: a follower that comes later makes its checkpoints when it must.
void Sender::tell_frozen() {
  const Lsn frozen = replica_.frozen();
  if (frozen <= told_frozen_ || frozen > sent_ + Lsn(log::batch_header_bytes)) return;
  told_frozen_ = frozen;
  channel_->send(encode_message(Frozen{frozen}));
}

bool Sender::full() const {
  return flows_ && has_flow_ && !retired_ && written_out_ >= blocks_on_the_way_;
}

void Sender::wrote(BlockNo first, std::span<const PageRef> pages) {
  if (!flows_) return;
  if (channel_->unsent_bytes() > unsent_bytes_max) return broken("the follower is too slow");
  const bool told_of = full();
  for (const auto& reading : readings_)  // what is being read may be older: it must not arrive behind this
    for (size_t i = 0; i < reading->pages.size(); ++i)
      if (const BlockNo block = reading->first + BlockNo(i);
          block >= first && block < first + BlockNo(pages.size()))
        reading->meanwhile[i] = told_of ? Meanwhile::told_of : Meanwhile::sent;
  if (told_of) {
    PERDURE_MARK("a mirror is told of a write only");
    channel_->send(encode_message(Stale{first, pages.size()}));
  } else {
    send_blocks(first, pages, false);
  }
}

void Sender::send_blocks(BlockNo first, std::span<const PageRef> pages, bool wanted) {
  while (!pages.empty()) {
    const size_t n = std::min<size_t>(pages.size(), blocks_per_message);
    channel_->send(encode_message(Blocks{first, {}}),
                   std::vector<PageRef>(pages.begin(), pages.begin() + static_cast<ptrdiff_t>(n)));
    if (has_flow_) {
      blocks_sent_ += n;
      on_the_way_.push_back({blocks_sent_, static_cast<uint32_t>(n), wanted});
      (wanted ? wanted_out_ : written_out_) += n;
    }
    first += BlockNo(n);
    pages = pages.subspan(n);
  }
}

void Sender::take(const Taken& taken) {
  if (!has_flow_ || taken.blocks <= blocks_taken_ || taken.blocks > blocks_sent_)
    return broken("a message that makes no sense now");
  blocks_taken_ = taken.blocks;
  while (!on_the_way_.empty() && on_the_way_.front().end <= blocks_taken_) {
    (on_the_way_.front().wanted ? wanted_out_ : written_out_) -= on_the_way_.front().count;
    on_the_way_.pop_front();
  }
  replica_.blocks().room();
  read_wanted();
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
  if ((!flows_ && !copying_) || want.count == 0 || want.count > blocks_per_message ||
      wanted_.size() >= wanted_max || want.first.value == 0 ||
      want.first.value + want.count > replica_.blocks().capacity())
    return broken("a message that makes no sense now");
  wanted_.push_back(want);
  read_wanted();
}

// It asks again when it has written them. With the first ones the log begins to flow: it has no time to wait
// until all have been copied.
void Sender::take(const WantRows& want) {
  if (following_ || scanning_ || copying_ == want.first) return broken("a message that makes no sense now");
  if (want.first) needed_ = replica_.ring().tail();
  copying_ = scanning_ = true;
  replica_.scan_rows(want, [this, self = self_, first = want.first](Result<Rows> rows) {
    if (*self == nullptr || retired_) return;
    scanning_ = false;
    if (!rows) return broken(rows.error().message.c_str());
    if (first) needed_ = rows->read_from;
    channel_->send(encode_message(*rows));
    if (!first || !has_flow_) return;
    begin_log(rows->read_from);
    pump();
  });
}

// None while it is being written. What is written later is sent, and must not arrive before.
void Sender::read_wanted() {
  while (!wanted_.empty() && readings_.size() < readings_max) {
    if (has_flow_ ? wanted_out_ >= blocks_on_the_way_ : channel_->unsent_bytes() > wanted_unsent_max)
      return;  // pump() tries again
    const WantBlocks want = wanted_.front();
    for (uint64_t i = 0; i < want.count; ++i)
      if (replica_.blocks().being_written(want.first + BlockNo(i))) return;  // pump() tries again
    wanted_.pop_front();
    const auto reading = std::make_shared<Reading>(want.first, std::vector<PageRef>(want.count),
                                                   std::vector<Meanwhile>(want.count));
    readings_.push_back(reading);
    replica_.blocks().read(want.first, reading->pages, [this, self = self_, reading](Result<void> read) {
      if (*self == nullptr || retired_) return;
      if (!read) return read_wanted_singly(reading, 0);
      send_wanted(reading);
    });
  }
}

// Some of them cannot be read: they are sent as zeros, of which the follower finds that they are not what it
// wants.
void Sender::read_wanted_singly(const std::shared_ptr<Reading>& reading, size_t index) {
  if (index == reading->pages.size()) return send_wanted(reading);
  replica_.blocks().read(reading->first + BlockNo(index), std::span(reading->pages).subspan(index, 1),
                         [this, self = self_, reading, index](Result<void> read) {
                           if (*self == nullptr || retired_) return;
                           if (!read) reading->pages[index] = zero_page();
                           read_wanted_singly(reading, index + 1);
                         });
}

void Sender::send_wanted(const std::shared_ptr<Reading>& reading) {
  readings_.erase(std::ranges::find(readings_, reading));
  const std::vector<Meanwhile>& meanwhile = reading->meanwhile;
  for (size_t i = 0, end = 0; i < meanwhile.size(); i = end) {
    end = i + 1;
    const BlockNo block = reading->first + BlockNo(i);
    if (meanwhile[i] == Meanwhile::told_of) wanted_.push_back({block, 1});
    if (meanwhile[i] != Meanwhile::nothing) continue;
    while (end < meanwhile.size() && meanwhile[end] == Meanwhile::nothing) ++end;
    send_blocks(block, std::span(reading->pages).subspan(i, end - i), true);
  }
  read_wanted();
}

}  // namespace perdure::mirror
