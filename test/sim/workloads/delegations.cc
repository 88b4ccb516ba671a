// Delegations: clients open a few files, keep what they are delegated, and read from what they know as long
// as nobody recalls it. Others write; what is recalled is given back sooner or later, and sometimes by
// itself. Some of the clients are of NFSv4.0.
//
// Judged: each file is one register, and all reads of it, those from a client's own memory included, and all
// writes are linearizable (linearizable.h). So nothing is acknowledged to one client while another still has
// the right to what was before. A recall of what its client has given back, or not heard of yet, is answered
// as such.
#include <deque>
#include <map>

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
    for (uint64_t i = 0; i < clients && !world_.failed(); ++i) {
      Client& client = add_client({.slots = static_cast<uint32_t>(random().between(2, 3)),
                                   .back_channel = true,
                                   .version40 = i != 0 && random().one_in(2)});
      Holder& holder = holders_.emplace_back(Holder{&client, {}});
      client.on_recall = [this, &holder](const Stateid& stateid) { return recalled(holder, stateid); };
      client.on_revoked = [&holder] {
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
  }

  void start() override {
    operations_ = random().between(20, 120);
    for (Holder& holder : holders_) {
      for (size_t n = 0; n + 1 < holder.client->slots(); ++n) spawn(work(holder, holder.client->slot(n)));
      spawn(give_back(holder, holder.client->slot(holder.client->slots() - 1)));
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
    }
  }

  // Until all have done their work, and nothing is held that somebody wants.
  Task<> give_back(Holder& holder, Slot& slot) {
    while (!world_.failed()) {
      auto it = std::ranges::find_if(holder.held, [](const auto& h) { return h.second.returning; });
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
      const File& file = *it->first;
      const Stateid stateid = it->second.stateid;
      slot.begin().putfh(file.handle).delegreturn(stateid);
      Reply& reply = co_await slot.ask();
      if (!(reply.putfh() && reply.plain(Op::DELEGRETURN))) {
        const bool old = holder.client->version40();
        if (reply.error() != (old ? NfsStatus::NFS4ERR_EXPIRED : NfsStatus::NFS4ERR_DELEG_REVOKED)) {
          fail("{}: DELEGRETURN: {}", file.name, bench::status_name(reply.error()));
          co_return;
        }
        if (!old) co_await free(slot, file, stateid);
      }
      // Meanwhile it may have got the next one.
      it = holder.held.find(&file);
      if (it != holder.held.end() && it->second.stateid.other == stateid.other) holder.held.erase(it);
    }
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
    if (old)
      slot.begin().putfh(root_).in_order(++seqids_[&slot]).open(by, {.access = access}, file.name);
    else
      slot.begin().putfh(file.handle).open_current(by, {.access = access, .delegation = true});
    Reply& reply = co_await slot.ask();
    bench::ChangeInfo change;
    if (!(reply.putfh() && reply.open(stateid, change))) {
      fail("{}: open: {}", file.name, bench::status_name(reply.error()));
      co_return false;
    }
    Stateid delegation;
    if (reply.delegation(delegation) != Reply::Delegation::none) {
      // The answer to its DELEGRETURN may still be on the way.
      if (auto it = holder.held.find(&file); it != holder.held.end() && !it->second.returning)
        fail("{}: a second delegation to {}", file.name, holder.client->name());
      holder.held.insert_or_assign(&file, Held{.stateid = delegation});
    }
    if (!old || seqids_[&slot] > 1) co_return true;
    slot.begin().putfh(file.handle).in_order(++seqids_[&slot]).open_confirm(stateid);
    Reply& confirmed = co_await slot.ask();
    if (!(confirmed.putfh() && confirmed.open_confirm(stateid)))
      fail("{}: OPEN_CONFIRM: {}", file.name, bench::status_name(confirmed.error()));
    co_return !world_.failed();
  }

  Task<> close(Slot& slot, File& file, Stateid stateid) {
    if (slot.client().version40())
      slot.begin().putfh(file.handle).in_order(++seqids_[&slot]).close(stateid);
    else
      slot.begin().putfh(file.handle).close(stateid);
    Reply& reply = co_await slot.ask();
    if (!(reply.putfh() && reply.close()))
      fail("{}: close: {}", file.name, bench::status_name(reply.error()));
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
      slot.begin().putfh(file.handle).read(stateid, 0, 8);
      Reply& reply = co_await slot.ask();
      Bytes data;
      bool eof = false;
      uint64_t value = 0;
      if (!(reply.putfh() && reply.read(data, eof)))
        fail("{}: read: {}", file.name, bench::status_name(reply.error()));
      std::memcpy(&value, data.data(), data.size());
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
      Call& call = slot.begin().putfh(file.handle);
      const MutableBytes data = call.write(stateid, 0, StableHow::FILE_SYNC4, 8);
      std::memcpy(data.data(), &value, sizeof value);
      Reply& reply = co_await slot.ask();
      uint32_t count = 0;
      StableHow level{};
      Verifier verifier{};
      if (!(reply.putfh() && reply.write(count, level, verifier)))
        fail("{}: write: {}", file.name, bench::status_name(reply.error()));
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
};

}  // namespace

std::unique_ptr<Workload> make_delegations(World& world) {
  return std::make_unique<DelegationsWorkload>(world);
}

}  // namespace perdure::sim
