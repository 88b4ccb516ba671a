#include "mirror/receiver.h"

#include <spdlog/spdlog.h>

#include <algorithm>

#include "base/crc32c.h"
#include "base/mark.h"
#include "base/planted_bug.h"

namespace perdure::mirror {

namespace {

// A block that comes so often in succession with the same content is as its primary has it. Zeros are also
// what comes of a block that cannot be read.
unsigned times_alike(uint32_t crc) {
  return crc == zero_page().crc() ? 3 : 2;
}

}  // namespace

Receiver::Receiver(env::Env& env, Replica& replica, std::unique_ptr<Channel> channel, Hooks hooks)
    : env_(env),
      replica_(replica),
      channel_(std::move(channel)),
      hooks_(std::move(hooks)),
      self_(std::make_shared<Receiver*>(this)),
      alive_(env.now()) {
  channel_->set_handler({.received = [this](Bytes message) { received(message); },
                         .closed = [this] { broken("it is closed"); }});
}

Receiver::~Receiver() {
  *self_ = nullptr;
}

// The owner ends this object with the call, or soon after it.
void Receiver::broken(const char* why) {
  if (*self_ == nullptr || !hooks_.broken) return;
  spdlog::info("the channel to the peer is given up: {}", why);
  std::exchange(hooks_.broken, nullptr)();
}

void Receiver::fail(Error error) {
  if (hooks_.failed) std::exchange(hooks_.failed, nullptr)(std::move(error));
}

void Receiver::hello(const Hello& hello) {
  channel_->send(encode_message(hello));
}

void Receiver::follow() {
  told_.received = replica_.commit().closed_end();
  following_ = true;
  channel_->send(encode_message(Follow{told_.received}));
}

void Receiver::want_hand_over() {
  channel_->send(encode_message(WantHandOver{}));
}

void Receiver::received(Bytes bytes) {
  if (*self_ == nullptr) return;
  alive_ = env_.now();
  const Result<Message> message = decode_message(bytes);
  if (!message) return broken(message.error().message.c_str());
  if (const auto* welcome = std::get_if<Welcome>(&*message); welcome != nullptr && !following_)
    return hooks_.welcomed(*welcome);
  if (const auto* refused = std::get_if<Refused>(&*message)) return hooks_.refused(refused->why);
  if (const auto* blocks = std::get_if<Blocks>(&*message); blocks != nullptr && (following_ || copying_))
    return take(*blocks);
  if (const auto* rows = std::get_if<Rows>(&*message); rows != nullptr && copying_) return take(*rows);
  if (!following_ && std::get_if<Beacon>(&*message) != nullptr) return;
  if (!following_) return broken("a message that makes no sense now");
  if (const auto* batch = std::get_if<Batch>(&*message)) return take(*batch);
  if (const auto* following = std::get_if<Following>(&*message)) {
    live_ = following->live;
  } else if (const auto* beacon = std::get_if<Beacon>(&*message)) {
    heard_ = env_.now();
    time_ = beacon->time;
    log::GroupCommit& commit = replica_.commit();
    commit.mirrored(std::min(beacon->durable, commit.closed_end()));
  } else if (const auto* frozen = std::get_if<Frozen>(&*message)) {
    frozen_ = frozen->at;
  } else if (const auto* want = std::get_if<WantBlocks>(&*message)) {
    take(*want);
  } else if (std::get_if<InSync>(&*message) != nullptr) {
    hooks_.in_sync();
  } else if (std::get_if<HandOver>(&*message) != nullptr) {
    hooks_.handed_over();
  } else if (const auto* legacy = std::get_if<Legacy>(&*message)) {
    hooks_.left(legacy->bytes);
  } else {
    broken("a message that makes no sense now");
  }
}

// ------------------------------------------------------------------------------------------------ batches

void Receiver::take(const Batch& batch) {
  const log::GroupCommit& commit = replica_.commit();
  const Lsn start = pending_.empty() ? commit.closed_end() : pending_.back().end;
  const Epoch epoch = pending_.empty() ? commit.epoch() : pending_.back().epoch;
  if (batch.start != start || batch.epoch < epoch || batch.payload.empty())
    return broken("a batch that does not continue the log");
  const Result<std::vector<NamedBlocks>> named = replica_.named_blocks(batch.payload);
  if (!named) return broken(named.error().message.c_str());
  pending_.push_back({.end = start + Lsn(log::batch_bytes(batch.payload.size())),
                      .epoch = batch.epoch,
                      .payload = ByteVector(batch.payload.begin(), batch.payload.end())});
  lack(*named);
  advance();
}

// Of what has come last.
void Receiver::lack(const std::vector<NamedBlocks>& named) {
  if (named.empty() || planted("a mirror does not wait for the blocks that a batch names")) return;
  const uint64_t number = first_pending_ + pending_.size() - 1;
  for (const NamedBlocks& blocks : named) lack(blocks.first, blocks.crcs, number);
  pending_.back().written = std::max<uint64_t>(written_, 1);
}

// What of these blocks is not known to be here, the batch waits for. Those that are on their way come by
// themselves; the others are compared.
void Receiver::lack(BlockNo first, std::span<const uint32_t> crcs, uint64_t batch) {
  const bool live = following_ && pending_.back().end > live_;
  BlockNo from;
  uint32_t count = 0;
  const auto compare = [&] {
    if (count != 0) verify(from, count, live);
    count = 0;
  };
  for (size_t i = 0; i < crcs.size(); ++i) {
    const BlockNo block = first + BlockNo(i);
    if (known(block)) {
      compare();
      continue;
    }
    ++pending_.back().missing;
    Missing& missing = missing_[block];
    missing.batches.push_back(batch);
    missing.crc = crcs[i];
    const bool arrives = std::ranges::any_of(writes_, [&](const Write& w) {
      return block >= w.first && block < w.first + BlockNo(w.pages.size());
    });
    if (arrives) {
      compare();
      continue;
    }
    if (count++ == 0) from = block;
    if (count == blocks_per_message) compare();
  }
  compare();
}

// Reads what this blade has, and compares. `live`: the primary has sent whatever it has written to these
// blocks since it wrote what the checksums are of.
void Receiver::verify(BlockNo first, uint32_t count, bool live) {
  if (first.value + count > replica_.blocks().capacity()) {
    for (uint32_t i = 0; i < count; ++i) missing_[first + BlockNo(i)].asked_for = true;
    return ask(first, count);
  }
  auto pages = std::make_shared<std::vector<PageRef>>(count);
  replica_.blocks().own().read(
      first, *pages, [this, self = self_, first, count, live, pages](Result<void> read) {
        if (*self == nullptr) return;
        ++written_;          // what was read may not be stable either
        uint32_t wrong = 0;  // in a row, up to block i
        const auto ask_for_wrong = [&](uint32_t end) {
          if (wrong != 0) ask(first + BlockNo(end - wrong), wrong);
          wrong = 0;
        };
        for (uint32_t i = 0; i < count; ++i) {
          const BlockNo block = first + BlockNo(i);
          const auto it = missing_.find(block);
          if (it != missing_.end() && read && crc32c((*pages)[i].bytes()) == it->second.crc)
            there(block, live);
          else if (it != missing_.end() && !std::exchange(it->second.asked_for, true)) {
            ++wrong;
            continue;
          }
          ask_for_wrong(i);
        }
        ask_for_wrong(count);
        advance();
      });
}

void Receiver::ask(BlockNo first, uint32_t count) {
  channel_->send(encode_message(WantBlocks{first, count}));
}

// Whether what has come for a block that was asked for, and is not what the batches that wait for it name, is
// to be asked for once more. Either it has been written anew, or the primary has misread it: then it does not
// come like this again and again.
bool Receiver::doubtful(Missing& missing, uint32_t crc) {
  PERDURE_MARK("a block comes from the primary with another content");
  missing.came_alike = missing.came == crc ? missing.came_alike + 1 : 1;
  missing.came = crc;
  return missing.came_alike < times_alike(crc);
}

// The block is here. `known`: and is what the primary wrote last.
void Receiver::there(BlockNo block, bool known) {
  if (known) {
    if (block.value >= known_.size()) known_.resize(std::max(block.value + 1, 2 * known_.size()));
    known_[block.value] = true;
  }
  const auto it = missing_.find(block);
  if (it == missing_.end()) return;
  for (const uint64_t number : it->second.batches) {
    Pending& batch = pending_[number - first_pending_];
    CHECK(number >= first_pending_ && batch.missing != 0);
    --batch.missing;
    batch.written = written_;
  }
  missing_.erase(it);
}

// ------------------------------------------------------------------------------------------------- blocks

void Receiver::take(const Blocks& blocks) {
  if (blocks.first.value == 0 || blocks.first.value > UINT64_MAX / 2) return broken("blocks that cannot be");
  Write write{blocks.first, {}};
  // What is here is old from now on.
  for (uint64_t i = 0; i < blocks.content.size() / block_bytes; ++i)
    if (known(blocks.first + BlockNo(i)) && !planted("a block that is on its way counts as being there"))
      known_[blocks.first.value + i] = false;
  for (size_t at = 0; at < blocks.content.size(); at += block_bytes) {
    PageRef page = make_page();
    std::memcpy(page.mutable_bytes().data(), blocks.content.data() + at, block_bytes);
    write.pages.push_back(std::move(page));
  }
  writes_.push_back(std::move(write));
  if (!writing_) write_next();
}

// The primary cannot read a block of its own. What cannot be read here is sent as zeros: its checksum tells.
void Receiver::take(const WantBlocks& want) {
  if (want.count != 1 || want.first.value == 0 || want.first.value >= replica_.blocks().capacity())
    return broken("blocks that cannot be");
  auto pages = std::make_shared<std::vector<PageRef>>(1);
  replica_.blocks().own().read(want.first, *pages,
                               [this, self = self_, first = want.first, pages](Result<void> read) {
                                 if (*self == nullptr) return;
                                 if (!read) (*pages)[0] = zero_page();
                                 channel_->send(encode_message(Blocks{first, {}}), *pages);
                               });
}

// One after another: so the last one to come is the last one to be written.
void Receiver::write_next() {
  if (writes_.empty()) return;
  writing_ = true;
  const Write& write = writes_.front();
  MirroredBlocks& store = replica_.blocks();
  if (write.first.value + write.pages.size() > store.capacity()) {
    store.grow([this, self = self_](Result<void> grown) {
      if (*self == nullptr) return;
      if (!grown) return fail(std::move(grown).error());
      write_next();
    });
    return;
  }
  store.write(write.first, write.pages, [this, self = self_](Result<void> written) {
    if (*self == nullptr) return;
    if (!written) return fail(std::move(written).error());
    const Write ended = std::move(writes_.front());
    writes_.pop_front();
    writing_ = false;
    ++written_;
    for (size_t i = 0; i < ended.pages.size(); ++i) {
      const BlockNo block = ended.first + BlockNo(i);
      const auto it = missing_.find(block);
      // Of what came by itself no checksum is needed.
      const bool asked_for = it != missing_.end() && it->second.asked_for;
      const uint32_t crc = asked_for ? ended.pages[i].crc() : 0;
      if (asked_for && it->second.crc != crc && doubtful(it->second, crc))
        ask(block, 1);
      else
        there(block, following_);
    }
    advance();
    write_next();
  });
}

// ------------------------------------------------------------------------------------------------ a copy

void Receiver::copy() {
  copying_ = true;
  channel_->send(encode_message(WantRows{true, {}}));
}

void Receiver::take(const Rows& rows) {
  const Result<std::vector<NamedBlocks>> named = replica_.named_blocks(rows);
  if (!named || !pending_.empty()) return broken("rows that were not asked for, or are invalid");
  pending_.push_back({.end = {}, .epoch = {}, .payload = {}, .rows = rows});
  lack(*named);
  advance();
}

// Their blocks are there.
void Receiver::write_rows() {
  copying_ = false;  // until they are written no more can come
  const Rows& rows = *pending_.front().rows;
  replica_.copy_rows(rows, [this, self = self_](Result<void> written) {
    if (*self == nullptr) return;
    if (!written) return fail(std::move(written).error());
    const Rows ended = *std::move(pending_.front().rows);
    pending_.pop_front();
    ++first_pending_;
    if (!ended.upto.empty()) {
      copying_ = true;
      channel_->send(encode_message(WantRows{false, ended.upto}));
      return;
    }
    hooks_.copied(ended.read_from);
  });
}

// ------------------------------------------------------------------------------------------ acknowledgement

void Receiver::advance() {
  while (!pending_.empty() && pending_.front().missing == 0) {
    if (pending_.front().written > flushed_) return flush();
    if (pending_.front().rows) return write_rows();
    // This blade's ring must have room for it: a checkpoint makes some, of what the primary says is durable.
    const Pending& next = pending_.front();
    if (log::batch_bytes(next.payload.size()) > replica_.commit().room()) {
      PERDURE_MARK("a mirror waits for room in its log");
      return;
    }
    const Pending batch = std::move(pending_.front());
    pending_.pop_front();
    ++first_pending_;
    if (Result<void> redone = replica_.redo_batch(batch.payload, batch.epoch); !redone)
      return fail(std::move(redone).error());
  }
}

void Receiver::flush() {
  if (std::exchange(flushing_, true)) return;
  replica_.blocks().own().flush(
      [this, self = self_, upto = std::max<uint64_t>(written_, 1)](Result<void> flushed) {
        if (*self == nullptr) return;
        if (!flushed) return fail(std::move(flushed).error());
        flushing_ = false;
        flushed_ = upto;
        advance();
      });
}

void Receiver::end_turn() {
  if (!following_) return;
  advance();
  const log::GroupCommit& commit = replica_.commit();
  if (frozen_ && commit.closed_end() + Lsn(log::batch_header_bytes) >= *frozen_) {
    frozen_.reset();
    replica_.offer_checkpoint();
  }
  const Ack ack{time_, commit.closed_end(), commit.stable_end(), replica_.applied(), fit_};
  if (ack == told_) return;
  told_ = ack;
  channel_->send(encode_message(ack));
}

}  // namespace perdure::mirror
