#include "mirror/receiver.h"

#include <spdlog/spdlog.h>

#include <algorithm>

#include "base/crc32c.h"
#include "base/mark.h"
#include "base/planted_bug.h"

namespace perdure::mirror {

namespace {

// With more that are waited for, what comes next is not looked at yet.
constexpr size_t missing_max = 64U << 10U;
constexpr size_t writes_max = 16;               // at a time
constexpr size_t copied_bytes_max = 4U << 20U;  // of the log, at a time
constexpr uint64_t stale_max = 1U << 20U;
// Blocks that are told of together, unless there are no others.
constexpr uint64_t taken_step = 64;

// Adds the block, to the last range if it follows that one.
template <class Ranges>
void append(Ranges& ranges, BlockNo block) {
  if (!ranges.empty() && ranges.back().first + BlockNo(ranges.back().count) == block &&
      ranges.back().count < blocks_per_message)
    ++ranges.back().count;
  else
    ranges.push_back({block, 1});
}

// A block that comes so often in succession with the same content is as its primary has it. Zeros are also
// what comes of a block that cannot be read.
unsigned times_alike(uint32_t crc) {
  return crc == zero_page().crc() ? 3 : 2;
}

}  // namespace

Receiver::Receiver(env::Env& env, Replica& replica, std::unique_ptr<Channel> channel,
                   size_t blocks_on_the_way, Hooks hooks)
    : env_(env),
      replica_(replica),
      channel_(std::move(channel)),
      blocks_on_the_way_(blocks_on_the_way),
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
  const log::GroupCommit& commit = replica_.commit();
  told_.received = commit.closed_end();
  if (!flows_) {
    end_ = commit.closed_end();
    epoch_ = commit.epoch();
  }
  flows_ = following_ = true;
  channel_->send(encode_message(Follow{told_.received}));
  advance();
}

void Receiver::want_hand_over() {
  channel_->send(encode_message(WantHandOver{}));
}

void Receiver::received(Bytes bytes) {
  if (*self_ == nullptr) return;
  alive_ = env_.now();
  Result<Message> message = decode_message(bytes);
  if (!message) return broken(message.error().message.c_str());
  if (const auto* welcome = std::get_if<Welcome>(&*message); welcome != nullptr && !flows_ && !copying_) {
    has_flow_ = welcome->version >= protocol_version_flow;
    return hooks_.welcomed(*welcome);
  }
  if (const auto* refused = std::get_if<Refused>(&*message)) return hooks_.refused(refused->why);
  if (flows_ || copying_) {
    if (const auto* blocks = std::get_if<Blocks>(&*message)) return take(*blocks);
    if (const auto* rows = std::get_if<Rows>(&*message)) return take(*rows);
    if (const auto* following = std::get_if<Following>(&*message)) {
      flows_ = true;
      live_ = following->live;
      return;
    }
  }
  if (flows_) {
    if (const auto* batch = std::get_if<Batch>(&*message)) return take(*batch);
    if (const auto* stale = std::get_if<Stale>(&*message)) return take(*stale);
    if (auto* dead = std::get_if<Dead>(&*message)) return take(std::move(*dead));
  }
  if (following_) return received_following(*message);
  if (std::get_if<Beacon>(&*message) == nullptr) return broken("a message that makes no sense now");
  if (flows_ && has_flow_) send_copied();  // this blade is well
}

void Receiver::received_following(const Message& message) {
  if (const auto* beacon = std::get_if<Beacon>(&message)) {
    heard_ = env_.now();
    time_ = beacon->time;
    log::GroupCommit& commit = replica_.commit();
    commit.mirrored(std::min(beacon->durable, commit.closed_end()));
  } else if (const auto* frozen = std::get_if<Frozen>(&message)) {
    frozen_ = frozen->at;
  } else if (const auto* want = std::get_if<WantBlocks>(&message)) {
    take(*want);
  } else if (std::get_if<InSync>(&message) != nullptr) {
    hooks_.in_sync();
  } else if (std::get_if<HandOver>(&message) != nullptr) {
    hooks_.handed_over();
  } else if (const auto* legacy = std::get_if<Legacy>(&message)) {
    hooks_.left(legacy->bytes);
  } else {
    broken("a message that makes no sense now");
  }
}

// ------------------------------------------------------------------------------------------------ batches

void Receiver::take(const Batch& batch) {
  if (batch.start != end_ || batch.epoch < epoch_ || batch.payload.empty())
    return broken("a batch that does not continue the log");
  end_ += Lsn(log::batch_bytes(batch.payload.size()));
  epoch_ = batch.epoch;
  pending_.push_back({.end = end_,
                      .epoch = batch.epoch,
                      .payload = ByteVector(batch.payload.begin(), batch.payload.end()),
                      .rows = {},
                      .dead = std::exchange(dead_, {})});
  advance();
}

void Receiver::take(Dead dead) {
  if (std::ranges::any_of(dead.ranges, [](const Dead::Range& r) { return r.count == 0; }))
    return broken("blocks that cannot be");
  dead_.assign(dead.ranges.begin(), dead.ranges.end());
}

void Receiver::lack_next() {
  while (looked_at_ < pending_.size() && missing_.size() < missing_max) {
    Pending& batch = pending_[looked_at_];
    const Result<std::vector<NamedBlocks>> named =
        batch.rows ? replica_.named_blocks(*batch.rows) : replica_.named_blocks(batch.payload);
    if (!named) return broken(named.error().message.c_str());
    const uint64_t number = first_pending_ + looked_at_++;
    if (named->empty() || planted("a mirror does not wait for the blocks that a batch names")) continue;
    for (const NamedBlocks& blocks : *named) lack(blocks, batch, number);
    batch.dead = {};
    batch.written = written_;
  }
}

// They come in the order in which the batch names them.
bool Receiver::is_dead(Pending& batch, BlockNo block) {
  if (batch.dead.empty() || batch.dead.front().first != block) return false;
  Dead::Range& range = batch.dead.front();
  range.first += BlockNo(1);
  if (--range.count == 0) batch.dead.pop_front();
  return true;
}

// What of these blocks is not known to be here, the batch waits for. Those that are on their way come by
// themselves; the others are compared.
void Receiver::lack(const NamedBlocks& named, Pending& batch, uint64_t number) {
  const bool live = flows_ && batch.end > live_;
  for (size_t i = 0; i < named.crcs.size(); ++i) {
    const BlockNo block = named.first + BlockNo(i);
    if (is_dead(batch, block) || known(block)) continue;
    ++batch.missing;
    Missing& missing = missing_[block];
    // Rows may be older than the batches before them.
    if (!batch.rows || missing.batches.empty()) {
      missing.crc = named.crcs[i];
      missing.live = live;
    }
    missing.batches.push_back(number);
    if (!arriving_.contains(block) || stale(block)) queue(block, missing);
  }
}

void Receiver::queue(BlockNo block, Missing& missing) {
  if (!missing.counted && !std::exchange(missing.queued, true)) append(comparisons_, block);
}

// Of what is queued, that which has not come meanwhile.
void Receiver::compare_next() {
  while (!comparisons_.empty() && under_way_ < blocks_on_the_way_) {
    const Range range = comparisons_.front();
    comparisons_.pop_front();
    std::vector<Range> to_compare, to_ask_for;
    for (uint32_t i = 0; i < range.count; ++i) {
      const BlockNo block = range.first + BlockNo(i);
      const auto missing = missing_.find(block);
      if (missing == missing_.end() || !std::exchange(missing->second.queued, false)) continue;
      const bool arrives = arriving_.contains(block);
      if (arrives && !stale(block)) continue;
      missing->second.counted = true;
      missing->second.asked_for = arrives;  // something old is being written over what could be read
      ++under_way_;
      append(arrives ? to_ask_for : to_compare, block);
    }
    for (const Range& r : to_ask_for) ask(r);
    for (const Range& r : to_compare) compare(r);
  }
}

// Reads what this blade has, and compares.
void Receiver::compare(const Range& range) {
  const bool exists = range.first.value + range.count <= replica_.blocks().capacity();
  const uint64_t reading = ++readings_;
  for (uint32_t i = 0; i < range.count; ++i) {
    Missing& missing = missing_[range.first + BlockNo(i)];
    missing.reading = reading;
    missing.asked_for = !exists;
  }
  if (!exists) return ask(range);
  auto pages = std::make_shared<std::vector<PageRef>>(range.count);
  replica_.blocks().own().read(range.first, *pages,
                               [this, self = self_, first = range.first, pages, reading](Result<void> read) {
                                 if (*self == nullptr) return;
                                 if (!read) pages->assign(pages->size(), PageRef());
                                 compared(first, *pages, reading);
                                 advance();
                               });
}

// `pages`: null where a block could not be read.
void Receiver::compared(BlockNo first, std::span<const PageRef> pages, uint64_t reading) {
  ++written_;  // what was read may not be stable either
  std::vector<Range> wrong;
  for (size_t i = 0; i < pages.size(); ++i) {
    const BlockNo block = first + BlockNo(i);
    const auto it = missing_.find(block);
    if (it == missing_.end() || it->second.reading != reading || it->second.asked_for) continue;
    // What is being written over it may be older, or newer, than what was read.
    const bool arrives = arriving_.contains(block);
    if (arrives && !stale(block)) {  // it has come by itself
      it->second.counted = false;
      it->second.reading = 0;
      --under_way_;
    } else if (!arrives && pages[i] && pages[i].crc() == it->second.crc) {
      there(block, it->second.live);
    } else {
      it->second.asked_for = true;
      append(wrong, block);
    }
  }
  for (const Range& range : wrong) ask(range);
}

void Receiver::ask(const Range& range) {
  channel_->send(encode_message(WantBlocks{range.first, range.count}));
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
  if (known && !stale(block)) {
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
  if (it->second.counted) --under_way_;
  missing_.erase(it);
}

// ------------------------------------------------------------------------------------------------- blocks

void Receiver::now_old(BlockNo block) {
  if (known(block)) known_[block.value] = false;
}

void Receiver::take(const Blocks& blocks) {
  if (blocks.first.value == 0 || blocks.first.value > UINT64_MAX / 2) return broken("blocks that cannot be");
  Write write{blocks.first, {}};
  for (size_t at = 0; at < blocks.content.size(); at += block_bytes) {
    const BlockNo block = blocks.first + BlockNo(at / block_bytes);
    if (!planted("a block that is on its way counts as being there")) now_old(block);
    ++arriving_[block];
    stale_.erase(block);
    PageRef page = make_page();
    std::memcpy(page.mutable_bytes().data(), blocks.content.data() + at, block_bytes);
    write.pages.push_back(std::move(page));
  }
  writes_.push_back(std::move(write));
  write_next();
}

void Receiver::take(const Stale& stale) {
  if (stale.first.value == 0 || stale.count == 0 || stale.count > stale_max ||
      stale.first.value > UINT64_MAX / 2)
    return broken("blocks that cannot be");
  for (uint64_t i = 0; i < stale.count; ++i) {
    const BlockNo block = stale.first + BlockNo(i);
    if (!planted("what a mirror is only told of is not old")) now_old(block);
    if (!planted("what a mirror is only told of is not old")) stale_.insert(block);
    // It does not come by itself any more.
    if (const auto it = missing_.find(block); it != missing_.end()) queue(block, it->second);
  }
  advance();
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

// Those of the same block one after another: so the last one to come is the last one to be written.
void Receiver::write_next() {
  MirroredBlocks& store = replica_.blocks();
  while (!writes_.empty() && being_written_.size() < writes_max && !growing_) {
    const Range range{writes_.front().first, static_cast<uint32_t>(writes_.front().pages.size())};
    const bool waits = std::ranges::any_of(being_written_, [&](const Range& r) {
      return r.first < range.first + BlockNo(range.count) && range.first < r.first + BlockNo(r.count);
    });
    if (waits) return;
    if (range.first.value + range.count > store.capacity()) {
      growing_ = true;
      return store.grow([this, self = self_](Result<void> grown) {
        if (*self == nullptr) return;
        if (!grown) return fail(std::move(grown).error());
        growing_ = false;
        write_next();
      });
    }
    auto write = std::make_shared<Write>(std::move(writes_.front()));
    writes_.pop_front();
    being_written_.push_back(range);
    store.write(write->first, write->pages, [this, self = self_, write](Result<void> ended) {
      if (*self == nullptr) return;
      if (!ended) return fail(std::move(ended).error());
      written(*write);
      advance();
      write_next();
    });
  }
}

void Receiver::written(const Write& write) {
  being_written_.erase(std::ranges::find_if(being_written_, [&](const Range& r) {
    return r.first == write.first && r.count == write.pages.size();
  }));
  ++written_;
  taken_ += write.pages.size();
  std::vector<Range> again;
  for (size_t i = 0; i < write.pages.size(); ++i) {
    const BlockNo block = write.first + BlockNo(i);
    const auto arriving = arriving_.find(block);
    if (--arriving->second != 0) continue;  // something newer is on its way
    arriving_.erase(arriving);
    const auto it = missing_.find(block);
    if (stale(block)) {  // what is there now is old, whatever was read before, or asked for
      if (it == missing_.end() || !it->second.counted) continue;
      it->second.asked_for = true;
      append(again, block);
      continue;
    }
    // Of what came by itself no checksum is needed.
    const bool asked_for = it != missing_.end() && it->second.asked_for;
    const uint32_t crc = asked_for ? write.pages[i].crc() : 0;
    if (asked_for && it->second.crc != crc && doubtful(it->second, crc))
      append(again, block);
    else
      there(block, flows_);
  }
  for (const Range& range : again) ask(range);
  if (!has_flow_ || (taken_ - told_taken_ < taken_step && !arriving_.empty())) return;
  told_taken_ = taken_;
  channel_->send(encode_message(Taken{taken_}));
}

// ------------------------------------------------------------------------------------------------ a copy

void Receiver::copy() {
  copying_ = rows_asked_for_ = true;
  channel_->send(encode_message(WantRows{true, {}}));
}

void Receiver::take(const Rows& rows) {
  if (!std::exchange(rows_asked_for_, false)) return broken("rows that were not asked for");
  if (!flows_) end_ = copied_end_ = rows.read_from;
  pending_.push_back({.end = {}, .epoch = {}, .payload = {}, .rows = rows, .dead = {}});
  advance();
}

// The first one of pending_, of which all blocks are there.
void Receiver::write_rows() {
  copying_some_ = true;
  replica_.copy_rows(*pending_.front().rows, [this, self = self_](Result<void> written) {
    if (*self == nullptr) return;
    if (!written) return fail(std::move(written).error());
    copying_some_ = false;
    const ByteVector upto = std::move(pending_.front().rows->upto);
    pop_pending();
    if (upto.empty()) {
      copying_ = false;
      return hooks_.copied(copied_end_);
    }
    rows_asked_for_ = true;
    channel_->send(encode_message(WantRows{false, upto}));
    advance();
  });
}

// The same of batches, while rows are being copied: as many as are ready.
void Receiver::copy_batches() {
  PERDURE_MARK("a batch is copied along with the rows");
  copying_some_ = true;
  std::vector<Bytes> payloads;
  size_t bytes = 0;
  for (size_t i = 0; i < looked_at_ && bytes < copied_bytes_max; ++i) {
    const Pending& next = pending_[i];
    if (next.rows || next.missing != 0 || next.written > flushed_) break;
    payloads.emplace_back(next.payload);
    bytes += next.payload.size();
  }
  replica_.copy_batches(payloads, [this, self = self_, count = payloads.size()](Result<void> written) {
    if (*self == nullptr) return;
    if (!written) return fail(std::move(written).error());
    copying_some_ = false;
    copied_end_ = pending_[count - 1].end;
    for (size_t i = 0; i < count; ++i) pop_pending();
    send_copied();
    advance();
  });
}

void Receiver::send_copied() {
  channel_->send(encode_message(Ack{0, copied_end_, {}, {}, fit_}));
}

// ------------------------------------------------------------------------------------------ acknowledgement

void Receiver::advance() {
  lack_next();
  if (*self_ == nullptr) return;
  compare_next();
  while (looked_at_ != 0 && pending_.front().missing == 0 && !copying_some_) {
    if (pending_.front().written > flushed_) return flush();
    if (pending_.front().rows) return write_rows();
    if (copying_) return copy_batches();
    if (!following_) return;  // it is being loaded
    // This blade's ring must have room for it: a checkpoint makes some, of what the primary says is durable.
    const Pending& next = pending_.front();
    if (log::batch_bytes(next.payload.size()) > replica_.commit().room()) {
      PERDURE_MARK("a mirror waits for room in its log");
      return;
    }
    const Pending batch = std::move(pending_.front());
    pop_pending();
    if (Result<void> redone = replica_.redo_batch(batch.payload, batch.epoch); !redone)
      return fail(std::move(redone).error());
  }
}

void Receiver::pop_pending() {
  pending_.pop_front();
  ++first_pending_;
  --looked_at_;
}

void Receiver::flush() {
  if (std::exchange(flushing_, true)) return;
  replica_.blocks().own().flush([this, self = self_, upto = written_](Result<void> flushed) {
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
