// Delegations: clients open a few files, keep what they are delegated, and read from what they know as long
// as nobody recalls it. Others write; what is recalled is given back sooner or later, and sometimes by
// itself. Some of the clients are of NFSv4.0. Either one of a client's slots does nothing but give back, or
// all of them work, and give back in between: then a server that lets the requests of two clients wait for
// each other's delegations in all of their slots has brought both to a stand.
//
// Judged: each file is one register, and all reads of it, those from a client's own memory included, and all
// writes are linearizable (linearizable.h). So nothing is acknowledged to one client while another still has
// the right to what was before. A recall of what its client has given back, or not heard of yet, is answered
// as such. Nothing is revoked where nothing is slow or faulty.
#include <deque>
#include <map>

#include "base/crc32c.h"
#include "sim/linearizable.h"
#include "sim/workload.h"

namespace perdure::sim {
namespace {

using bench::StableHow;

struct RegisterOp {
  bool write = false;
  uint64_t value = 0;
  std::string who = {};
  bool changes() const { return write; }
  std::string words() const {
    return fmt::format("{} by {} of {}", write ? "a write" : "a read", who, value);
  }
};

struct Register {
  uint64_t value = 0;
  auto operator<=>(const Register&) const = default;
  bool apply(const RegisterOp& op) {
    if (op.write) value = op.value;
    return value == op.value;
  }
};

class DelegationsWorkload final : public Workload {
 public:
  explicit DelegationsWorkload(World& world) : Workload(world, "delegations") {}

  Task<> setup() override {
    const uint64_t clients = random().between(2, 3), files = random().between(1, 2);
    all_work_ = random().one_in(2);
    calm_ = world_.profile().calm();
    for (uint64_t i = 0; i < clients && !world_.failed(); ++i) {
      Client& client = add_client({.slots = static_cast<uint32_t>(random().between(2, 3)),
                                   .back_channel = true,
                                   .sees_delay = true,
                                   .version40 = i != 0 && random().one_in(2)});
      Holder& holder = holders_.emplace_back(Holder{&client, {}});
      client.on_recall = [this, &holder](const Stateid& stateid) { return recalled(holder, stateid); };
      client.on_revoked = [this, &holder] {
        // Of NFSv4.0 it is also told when there is no calling the client.
        if (calm_ && !holder.client->version40())
          fail("a delegation of {} is revoked", holder.client->name());
        for (auto& [file, held] : holder.held) held.known.reset(), held.returning = true;  // all, to be sure
      };
      co_await client.start();
    }
    if (world_.failed()) co_return;
    Slot& first = holders_[0].client->slot(0);
    const std::string name = "delegations", owner = "maker";
    root_ = co_await make_directory(first, holders_[0].client->root(), name);
    for (uint64_t i = 0; i < files && !world_.failed(); ++i) {
      const std::string file = fmt::format("file {}", i);
      const OpenFile created = co_await create_file(first, root_, file, owner);
      co_await close_file(first, created);
      files_.push_back({file, created.handle, {}});
    }
    // Two begin with a delegation of one file each, and all that they do next is to write to the other's.
    cross_ = all_work_ && files == 2 && !holders_[1].client->version40();
    for (size_t i = 0; cross_ && i < 2 && !world_.failed(); ++i)
      co_await write(holders_[i], holders_[i].client->slot(0), files_[i]);
  }

  void start() override {
    operations_ = random().between(20, 120);
    for (Holder& holder : holders_) {
      const size_t workers = holder.client->slots() - (all_work_ ? 0 : 1);
      for (size_t n = 0; n < workers; ++n) spawn(work(holder, holder.client->slot(n)));
      if (!all_work_) spawn(give_back(holder, holder.client->slot(workers)));
    }
  }

  Task<> check() override {
    for (File& file : files_) {
      co_await read(holders_[0], holders_[0].client->slot(0), file);
      const std::string wrong = check_linearizable(Register{}, file.history);
      if (!wrong.empty()) fail("{}: {}", file.name, wrong);
    }
  }

 private:
  struct File {
    std::string name;
    FileHandle handle;
    std::vector<Timed<RegisterOp>> history;
  };
  struct Held {
    Stateid stateid;
    bool returning = false;
    bool going = false;             // DELEGRETURN is under way
    std::optional<uint64_t> known;  // the content, while nobody else may change it
    uint64_t writes = 0;            // of this client, under way or done
  };
  struct Holder {
    Client* client;
    std::map<const File*, Held> held;
    uint64_t opens = 0;
  };

  NfsStatus recalled(Holder& holder, const Stateid& stateid) {
    for (auto& [file, held] : holder.held)
      if (held.stateid.other == stateid.other) {
        held.returning = true;
        held.known.reset();
        return NfsStatus::NFS4_OK;
      }
    return NfsStatus::NFS4ERR_BAD_STATEID;
  }

  Task<> work(Holder& holder, Slot& slot) {
    if (cross_ && (&holder == &holders_[0] || &holder == &holders_[1]))
      co_await write(holder, slot, files_[&holder == &holders_[0] ? 1 : 0]);
    while (operations_ > 0 && !world_.failed()) {
      --operations_;
      File& file = files_[random().below(files_.size())];
      if (random().one_in(4))
        co_await write(holder, slot, file);
      else
        co_await read(holder, slot, file);
      if (random().one_in(3))
        co_await holder.client->sleep(random().exponential(std::chrono::milliseconds(50)));
      if (random().one_in(40)) co_await holder.client->sleep(std::chrono::seconds(11));
      if (all_work_) co_await give_back_due(holder, slot);
    }
    if (all_work_) co_await give_back(holder, slot);
  }

  // The slot's request was told to come again: meanwhile the slot is free for other things.
  Task<bool> comes_again(Holder& holder, Slot& slot, NfsStatus status) {
    if (status != NfsStatus::NFS4ERR_DELAY || world_.failed()) co_return false;
    if (all_work_) co_await give_back_due(holder, slot);
    co_await holder.client->sleep(std::chrono::milliseconds(5));
    co_return true;
  }

  // What is due, if nobody is at it.
  auto due(Holder& holder) {
    return std::ranges::find_if(holder.held,
                                [](const auto& h) { return h.second.returning && !h.second.going; });
  }

  Task<> give_back_due(Holder& holder, Slot& slot) {
    for (auto it = due(holder); it != holder.held.end() && !world_.failed(); it = due(holder))
      co_await give_back_one(holder, slot, *it->first);
  }

  // Until all have done their work, and nothing is held that somebody wants.
  Task<> give_back(Holder& holder, Slot& slot) {
    while (!world_.failed()) {
      const auto it = due(holder);
      if (it == holder.held.end()) {
        if (operations_ == 0 && holder.held.empty() && idle()) co_return;
        if (operations_ == 0 && !holder.held.empty()) {
          holder.held.begin()->second.returning = true;
          holder.held.begin()->second.known.reset();
        }
        co_await holder.client->sleep(std::chrono::milliseconds(1));
        continue;
      }
      if (random().one_in(3))
        co_await holder.client->sleep(random().exponential(std::chrono::milliseconds(300)));
      if (const auto still = due(holder); still != holder.held.end())
        co_await give_back_one(holder, slot, *still->first);
    }
  }

  Task<> give_back_one(Holder& holder, Slot& slot, const File& file) {
    Held& held = holder.held.at(&file);
    held.going = true;
    const Stateid stateid = held.stateid;
    for (;;) {
      slot.begin().putfh(file.handle).delegreturn(stateid);
      Reply& reply = co_await slot.ask();
      if (reply.putfh() && reply.plain(Op::DELEGRETURN)) break;
      if (reply.error() == NfsStatus::NFS4ERR_DELAY) {
        co_await holder.client->sleep(std::chrono::milliseconds(5));
        continue;
      }
      const bool old = holder.client->version40();
      if (calm_ || reply.error() != (old ? NfsStatus::NFS4ERR_EXPIRED : NfsStatus::NFS4ERR_DELEG_REVOKED)) {
        fail("{}: DELEGRETURN: {}", file.name, bench::status_name(reply.error()));
        co_return;
      }
      if (!old) co_await free(slot, file, stateid);
      break;
    }
    // Meanwhile it may have got the next one.
    const auto it = holder.held.find(&file);
    if (it != holder.held.end() && it->second.stateid.other == stateid.other) holder.held.erase(it);
  }
  bool idle() const { return working_ == 0; }

  Task<> free(Slot& slot, const File& file, Stateid stateid) {
    slot.begin().free_stateid(stateid);
    Reply& freed = co_await slot.ask();
    if (!freed.plain(Op::FREE_STATEID))
      fail("{}: FREE_STATEID: {}", file.name, bench::status_name(freed.error()));
  }

  // OPEN, and what it gives.
  Task<bool> open(Holder& holder, Slot& slot, File& file, uint32_t access, Stateid& stateid) {
    const bool old = holder.client->version40();
    // Of NFSv4.0 each slot has one.
    const std::string owner =
        fmt::format("{} {}", holder.client->name(), old ? slot.number() : ++holder.opens);
    const Call::Owner by{holder.client->id(), owner};
    Stateid delegation;
    bool delegated = false, confirm = false;
    for (;;) {
      if (old)
        slot.begin().putfh(root_).in_order(++seqids_[&slot]).open(by, {.access = access}, file.name);
      else
        slot.begin().putfh(file.handle).open_current(by, {.access = access, .delegation = true});
      Reply& reply = co_await slot.ask();
      bench::ChangeInfo change;
      if (reply.putfh() && reply.open(stateid, change)) {
        delegated = reply.delegation(delegation) != Reply::Delegation::none;
        confirm = reply.must_confirm();
        break;
      }
      const NfsStatus status = reply.error();
      const bool again = co_await comes_again(holder, slot, status);
      if (again) continue;
      fail("{}: open: {}", file.name, bench::status_name(status));
      co_return false;
    }
    world_.trace("{}, slot {}: {} is open as {:08x}, seqid {}{}", holder.client->name(), slot.number(),
                 file.name, crc32c(std::as_bytes(std::span(stateid.other))), stateid.seqid,
                 delegated ? ", and delegated" : "");
    if (delegated) {
      // The answer to its DELEGRETURN may still be on the way.
      if (auto it = holder.held.find(&file); it != holder.held.end() && !it->second.returning)
        fail("{}: a second delegation to {}", file.name, holder.client->name());
      holder.held.insert_or_assign(&file, Held{.stateid = delegation});
    }
    if (!confirm) co_return true;
    slot.begin().putfh(file.handle).in_order(++seqids_[&slot]).open_confirm(stateid);
    Reply& confirmed = co_await slot.ask();
    if (!(confirmed.putfh() && confirmed.open_confirm(stateid)))
      fail("{}: OPEN_CONFIRM: {}", file.name, bench::status_name(confirmed.error()));
    co_return !world_.failed();
  }

  Task<> close(Slot& slot, File& file, Stateid stateid) {
    for (;;) {
      if (slot.client().version40())
        slot.begin().putfh(file.handle).in_order(++seqids_[&slot]).close(stateid);
      else
        slot.begin().putfh(file.handle).close(stateid);
      Reply& reply = co_await slot.ask();
      const bool closed = reply.putfh() && reply.close();
      world_.trace("{}, slot {}: {:08x} is closed: {}", slot.client().name(), slot.number(),
                   crc32c(std::as_bytes(std::span(stateid.other))), closed);
      if (closed) co_return;
      const NfsStatus status = reply.error();
      if (status != NfsStatus::NFS4ERR_DELAY) {
        fail("{}: close: {}", file.name, bench::status_name(status));
        co_return;
      }
      co_await slot.client().sleep(std::chrono::milliseconds(5));
    }
  }

  Task<> read(Holder& holder, Slot& slot, File& file) {
    auto it = holder.held.find(&file);
    if (it != holder.held.end() && it->second.known) {
      const uint64_t asked = world_.moment();
      file.history.push_back({asked, world_.moment(), {false, *it->second.known, holder.client->name()}});
      co_return;
    }
    ++working_;
    Stateid stateid;
    if (co_await open(holder, slot, file, 1, stateid)) {
      it = holder.held.find(&file);
      const uint64_t writes = it != holder.held.end() ? it->second.writes : 0;
      uint64_t value = 0;
      for (;;) {
        slot.begin().putfh(file.handle).read(stateid, 0, 8);
        Reply& reply = co_await slot.ask();
        Bytes data;
        bool eof = false;
        if (reply.putfh() && reply.read(data, eof)) {
          std::memcpy(&value, data.data(), std::min(data.size(), sizeof value));
          break;
        }
        const NfsStatus status = reply.error();
        const bool again = co_await comes_again(holder, slot, status);
        if (again) continue;
        fail("{}: read: {}", file.name, bench::status_name(status));
        break;
      }
      file.history.push_back({slot.asked_at(), slot.answered_at(), {false, value, holder.client->name()}});
      it = holder.held.find(&file);
      if (it != holder.held.end() && !it->second.returning && it->second.writes == writes &&
          known_since(holder, file))
        it->second.known = value;
      if (!world_.failed()) co_await close(slot, file, stateid);
    }
    --working_;
  }
  // None of its own writes is under way.
  bool known_since(const Holder& holder, const File& file) const {
    auto it = writing_.find({&holder, &file});
    return it == writing_.end() || it->second == 0;
  }

  Task<> write(Holder& holder, Slot& slot, File& file) {
    ++working_;
    ++writing_[{&holder, &file}];
    if (auto it = holder.held.find(&file); it != holder.held.end())
      it->second.known.reset(), ++it->second.writes;
    Stateid stateid;
    if (co_await open(holder, slot, file, 3, stateid)) {
      if (auto it = holder.held.find(&file); it != holder.held.end())
        it->second.known.reset(), ++it->second.writes;
      const uint64_t value = ++values_;
      for (;;) {
        Call& call = slot.begin().putfh(file.handle);
        const MutableBytes data = call.write(stateid, 0, StableHow::FILE_SYNC4, 8);
        std::memcpy(data.data(), &value, sizeof value);
        Reply& reply = co_await slot.ask();
        uint32_t count = 0;
        StableHow level{};
        Verifier verifier{};
        if (reply.putfh() && reply.write(count, level, verifier)) break;
        const NfsStatus status = reply.error();
        const bool again = co_await comes_again(holder, slot, status);
        if (again) continue;
        fail("{}: write: {}", file.name, bench::status_name(status));
        break;
      }
      file.history.push_back({slot.asked_at(), slot.answered_at(), {true, value, holder.client->name()}});
      if (!world_.failed()) co_await close(slot, file, stateid);
    }
    --writing_[{&holder, &file}];
    --working_;
  }

  FileHandle root_;
  std::map<const Slot*, uint32_t> seqids_;  // the last ones of their owners, of NFSv4.0
  std::deque<Holder> holders_;
  std::deque<File> files_;
  std::map<std::pair<const Holder*, const File*>, uint64_t> writing_;
  uint64_t operations_ = 0, values_ = 0, working_ = 0;
  bool all_work_ = false, cross_ = false, calm_ = false;
};

}  // namespace

std::unique_ptr<Workload> make_delegations(World& world) {
  return std::make_unique<DelegationsWorkload>(world);
}

}  // namespace perdure::sim
