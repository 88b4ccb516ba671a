// Delegated sizes: clients that have a file delegated for writing let it grow in their own memory, and write
// that to the server later: of their own accord, or when they are to give the file back. Others ask for size
// and change attribute of the files, without opening them; the server asks the one who knows (CB_GETATTR).
//
// Judged: each file's size is one register, and all growth and all sizes that were told, those that the
// server had from a client included, are linearizable (linearizable.h). A change attribute that was told once
// belongs to one size for ever, and no later answer has a lower one. Of what a client has lost together with
// its delegation nothing is judged; nothing is revoked where nothing is slow or faulty.
#include <deque>
#include <map>

#include "sim/linearizable.h"
#include "sim/workload.h"

namespace perdure::sim {
namespace {

using bench::StableHow;

struct SizeOp {
  uint64_t added = 0;
  uint64_t size = 0;  // then
  std::string who = {};
  bool changes() const { return added != 0; }
  std::string words() const { return fmt::format("{} bytes, {} of them new, says {}", size, added, who); }
};

struct GrowingFile {
  uint64_t size = 0;
  auto operator<=>(const GrowingFile&) const = default;
  bool apply(const SizeOp& op) {
    size += op.added;
    return size == op.size;
  }
};

class DelegatedSizes final : public Workload {
 public:
  explicit DelegatedSizes(World& world) : Workload(world, "delegated_sizes") {}

  Task<> setup() override {
    const uint64_t clients = random().between(2, 3), files = random().between(1, 2);
    calm_ = world_.profile().calm();
    for (uint64_t i = 0; i < clients && !world_.failed(); ++i) {
      Client& client = add_client({.slots = 3, .back_channel = true});
      Holder& holder = holders_.emplace_back(Holder{.client = &client, .held = {}});
      client.on_recall = [this, &holder](const Stateid& stateid) { return recalled(holder, stateid); };
      client.on_getattr = [this, &holder](Bytes handle) { return asked(holder, handle); };
      client.on_revoked = [this, &holder] {
        if (calm_) fail("a delegation of {} is revoked", holder.client->name());
        for (auto& [file, held] : holder.held) lose(*file, held);  // all, to be sure
      };
      co_await client.start();
    }
    if (world_.failed()) co_return;
    Slot& first = holders_[0].client->slot(0);
    const std::string name = "delegated sizes", owner = "maker";
    const FileHandle root = co_await make_directory(first, holders_[0].client->root(), name);
    for (uint64_t i = 0; i < files && !world_.failed(); ++i) {
      const std::string file = fmt::format("file {}", i);
      const OpenFile created = co_await create_file(first, root, file, owner);
      co_await close_file(first, created);
      files_.push_back({.name = file, .handle = created.handle});
    }
  }

  void start() override {
    operations_ = random().between(20, 120);
    for (Holder& holder : holders_) {
      for (size_t n = 0; n < 2; ++n) spawn(work(holder, holder.client->slot(n)));
      spawn(give_back(holder, holder.client->slot(2)));
    }
  }

  Task<> check() override {
    for (File& file : files_) {
      co_await look(holders_[0].client->slot(0), file);
      if (file.lost) continue;
      const std::string wrong = check_linearizable(GrowingFile{}, file.history);
      if (!wrong.empty()) fail("{}: {}", file.name, wrong);
    }
  }

 private:
  struct File {
    std::string name;
    FileHandle handle;
    std::vector<Timed<SizeOp>> history = {};
    std::map<uint64_t, uint64_t> sizes = {};  // by change attribute, as they were told
    bool lost = false;                        // some of it
  };
  struct Held {
    Stateid open, delegation;
    uint64_t change = 0;  // when it was given
    uint64_t size = 0, written = 0;
    bool returning = false;
    bool lost = false;
  };
  struct Holder {
    Client* client;
    std::map<File*, Held> held;
    uint64_t opens = 0;
    const File* opening = nullptr;
  };

  static void lose(File& file, Held& held) {
    if (held.written != held.size) file.lost = true;
    held.lost = held.returning = true;
  }

  NfsStatus recalled(Holder& holder, const Stateid& stateid) {
    for (auto& [file, held] : holder.held)
      if (held.delegation.other == stateid.other) {
        held.returning = true;
        return NfsStatus::NFS4_OK;
      }
    return NfsStatus::NFS4ERR_BAD_STATEID;
  }

  // Sometimes it has no time, or refuses to answer.
  Client::HolderSays asked(Holder& holder, Bytes handle) {
    if (random().one_in(10)) return {.status = NfsStatus::NFS4ERR_DELAY};
    if (random().one_in(20)) return {.status = NfsStatus::NFS4ERR_NOTSUPP};
    for (auto& [file, held] : holder.held)
      if (std::ranges::equal(file->handle.bytes(), handle) && !held.lost)
        return {.change = held.change + (held.written != held.size ? 1 : 0), .size = held.size};
    return {.status = NfsStatus::NFS4ERR_BADHANDLE};
  }

  Task<> work(Holder& holder, Slot& slot) {
    while (operations_ > 0 && !world_.failed()) {
      --operations_;
      ++working_;
      File& file = files_[random().below(files_.size())];
      const auto it = holder.held.find(&file);
      if (it != holder.held.end()) {
        if (!it->second.returning) grow(holder, file, it->second);
      } else if (holder.opening == &file) {
        // What the server says may be old when it arrives.
      } else if (random().one_in(4)) {
        co_await open(holder, slot, file);
      } else {
        co_await look(slot, file);
      }
      --working_;
      if (random().one_in(2))
        co_await holder.client->sleep(random().exponential(std::chrono::milliseconds(50)));
      if (random().one_in(40)) co_await holder.client->sleep(std::chrono::seconds(11));
    }
  }

  void grow(Holder& holder, File& file, Held& held) {
    const uint64_t moment = world_.moment(), added = random().between(4, 5000);
    held.size += added;
    world_.trace("{}: {} grows to {} bytes here", holder.client->name(), file.name, held.size);
    file.history.push_back({moment, world_.moment(), {added, held.size, holder.client->name()}});
  }

  // The client's third slot writes what has grown and gives back what is due, until all have done their work.
  Task<> give_back(Holder& holder, Slot& slot) {
    while (!world_.failed()) {
      const bool over = operations_ == 0 && working_ == 0;
      if (over && holder.held.empty()) co_return;
      for (auto it = holder.held.begin(); it != holder.held.end() && !world_.failed();) {
        File& file = *it->first;
        Held& held = it->second;
        if (over) held.returning = true;
        if (held.written != held.size && !held.lost && (held.returning || random().one_in(20)))
          co_await write(slot, file, held);
        else if (held.returning) {
          co_await give_back_one(slot, file, held);
          it = holder.held.erase(it);
          continue;
        }
        ++it;
      }
      co_await holder.client->sleep(random().exponential(std::chrono::milliseconds(20)));
    }
  }

  // Of all of its size only the end.
  Task<> write(Slot& slot, File& file, Held& held) {
    const uint64_t size = held.size;
    Call& call = slot.begin().putfh(file.handle);
    std::ranges::fill(call.write(held.delegation, size - 4, StableHow::FILE_SYNC4, 4), std::byte('s'));
    Reply& reply = co_await slot.ask();
    uint32_t count = 0;
    StableHow level{};
    Verifier verifier{};
    if (reply.putfh() && reply.write(count, level, verifier)) {
      held.written = size;
      co_return;
    }
    if (calm_) fail("{}: write: {}", file.name, bench::status_name(reply.error()));
    lose(file, held);
  }

  Task<> give_back_one(Slot& slot, File& file, Held& held) {
    const Held was = held;
    slot.begin().putfh(file.handle).delegreturn(was.delegation);
    Reply& returned = co_await slot.ask();
    const bool good = returned.putfh() && returned.plain(Op::DELEGRETURN);
    if (!good && (calm_ || returned.error() != NfsStatus::NFS4ERR_DELEG_REVOKED))
      co_return fail("{}: DELEGRETURN: {}", file.name, bench::status_name(returned.error()));
    if (!good) {
      slot.begin().free_stateid(was.delegation);
      Reply& freed = co_await slot.ask();
      if (!freed.plain(Op::FREE_STATEID))
        fail("{}: FREE_STATEID: {}", file.name, bench::status_name(freed.error()));
    }
    const OpenFile opened{file.handle, was.open};
    if (!world_.failed()) co_await close_file(slot, opened);
  }

  // In the hope of a delegation; without one it is closed again.
  Task<> open(Holder& holder, Slot& slot, File& file) {
    if (holder.opening != nullptr) co_return;
    holder.opening = &file;
    const std::string owner = fmt::format("{} {}", holder.client->name(), ++holder.opens);
    slot.begin()
        .putfh(file.handle)
        .open_current({holder.client->id(), owner}, {.delegation = true})
        .getattr(bench::attr::CHANGE | bench::attr::SIZE);
    Reply& reply = co_await slot.ask();
    Stateid open, delegation;
    bench::ChangeInfo change;
    bench::Attributes attributes;
    if (reply.putfh() && reply.open(open, change) && reply.getattr(attributes)) {
      told(slot, file, attributes);
      if (reply.delegation(delegation) == Reply::Delegation::write)
        holder.held.insert_or_assign(&file, Held{.open = open,
                                                 .delegation = delegation,
                                                 .change = attributes.change,
                                                 .size = attributes.size,
                                                 .written = attributes.size});
      const OpenFile opened{file.handle, open};
      if (!holder.held.contains(&file)) co_await close_file(slot, opened);
    } else {
      fail("{}: open: {}", file.name, bench::status_name(reply.error()));
    }
    holder.opening = nullptr;
  }

  Task<> look(Slot& slot, File& file) {
    const uint64_t least = file.sizes.empty() ? 0 : file.sizes.rbegin()->first;
    slot.begin().putfh(file.handle).getattr(bench::attr::CHANGE | bench::attr::SIZE);
    Reply& reply = co_await slot.ask();
    bench::Attributes attributes;
    if (!(reply.putfh() && reply.getattr(attributes)))
      co_return fail("{}: GETATTR: {}", file.name, bench::status_name(reply.error()));
    world_.trace("{}: {} has {} bytes, change {:x}", slot.client().name(), file.name, attributes.size,
                 attributes.change);
    if (attributes.change < least)
      fail("{}: change attribute {:x}, after {:x} was told", file.name, attributes.change, least);
    told(slot, file, attributes);
  }

  void told(Slot& slot, File& file, const bench::Attributes& attributes) {
    file.history.push_back({slot.asked_at(), slot.answered_at(), {0, attributes.size, slot.client().name()}});
    const auto [it, fresh] = file.sizes.try_emplace(attributes.change, attributes.size);
    if (it->second != attributes.size && !file.lost)
      fail("{}: change attribute {:x} was told with {} bytes, and with {}", file.name, attributes.change,
           it->second, attributes.size);
  }

  std::deque<Holder> holders_;
  std::deque<File> files_;
  uint64_t operations_ = 0, working_ = 0;
  bool calm_ = false;
};

}  // namespace

std::unique_ptr<Workload> make_delegated_sizes(World& world) {
  return std::make_unique<DelegatedSizes>(world);
}

}  // namespace perdure::sim
