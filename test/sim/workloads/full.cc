// A tiny block store, and often a tiny log: slots write stably and unstably until NFS4ERR_NOSPC comes, each
// to files of its own in one directory; they COMMIT, truncate and remove in the full store, and write again.
//
// Judged: every word that is read, as in files.cc, so that nothing that was acknowledged is lost to a full
// store; COMMIT, truncation and removal never fail; a write is refused only if what there is and what is
// being written leave it no room (within a slack, which is approximate); in the end, when
// everything is removed, all space comes back within a minute.
//
// The store is this workload's alone.
#include "sim/judged_file.h"
#include "sim/workload.h"

namespace perdure::sim {
namespace {

using bench::StableHow;
using Range = JudgedFile::Range;
using std::chrono::seconds;

// Less than a step of growth: a store that cannot grow because of an I/O error is full as well.
constexpr uint64_t store_bytes = 7U << 20U;
constexpr uint64_t margin_bytes = 1024 * block;  // fs::DataOptions::margin_blocks
constexpr uint64_t slack_bytes = 64 * block;

class FullWorkload final : public Workload {
 public:
  explicit FullWorkload(World& world) : Workload(world, "full") {}

  Task<> setup() override {
    const uint64_t clients = random().between(1, 3);
    const std::vector<Client*> started = co_await start_clients(clients, 1, 4);
    if (world_.failed()) co_return;
    slots_ = slots_of(started);
    const std::string name = "full";
    directory_ = co_await make_directory(*slots_[0], slots_[0]->client().root(), name);
    space_ = co_await space(*slots_[0]);
    if (space_ > store_bytes || space_ + slack_bytes < store_bytes)
      fail("{} bytes in an empty store", space_);
  }

  void start() override {
    operations_ = random().between(40, 120);
    users_.resize(slots_.size());
    for (size_t i = 0; i < slots_.size(); ++i) spawn(work(*slots_[i], users_[i]));
  }

  Task<> check() override {
    Slot& slot = *slots_[0];
    for (User& user : users_) {
      for (File& file : user.files) {
        co_await file.file.check(slot);
        if (world_.failed()) co_return;
      }
      while (!user.files.empty() && !world_.failed()) co_await remove(slot, user);
    }
    uint64_t now = co_await space(slot);
    const env::Instant limit = world_.now() + seconds(50) + patience();  // a checkpoint's interval, too
    while (now != space_ && world_.now() < limit && !world_.failed()) {
      co_await slot.client().sleep(seconds(1));
      now = co_await space(slot);
    }
    if (!world_.failed() && now != space_)
      fail("everything is removed: {} bytes of {} come back", now, space_);
  }

 private:
  struct File {
    JudgedFile file;
    uint64_t size = 0;  // the largest that it may have now
  };
  // A slot and its files.
  struct User {
    std::deque<File> files;
    uint64_t writing = 0;  // bytes of the blocks that are being written
    uint64_t named = 0;    // files that it ever had
  };

  static uint64_t blocks_of(Range range) {
    return ((range.offset + range.length + block - 1) / block - range.offset / block) * block;
  }

  Task<> work(Slot& slot, User& user) {
    while (operations_ > 0 && !world_.failed()) {
      --operations_;
      co_await step(slot, user);
      if (random().one_in(8))
        co_await slot.client().sleep(random().exponential(std::chrono::milliseconds(50)));
    }
  }

  StableHow level() {
    return random().pick({StableHow::UNSTABLE4, StableHow::UNSTABLE4, StableHow::FILE_SYNC4});
  }

  Task<> step(Slot& slot, User& user) {
    if (user.files.empty() || (user.files.size() < 4 && random().one_in(6))) {
      co_await create(slot, user);
      co_return;
    }
    File& file = user.files[random().below(user.files.size())];
    const uint64_t what = random().below(20);
    const Range all;
    if (what < 12) {
      // Mostly behind the end, sometimes over what there is: that needs blocks as well.
      // Some go to the log as a whole when they are stable, some are too large for that.
      const uint64_t bytes_max = random().pick({20'000U, 65'536U, 500'000U});
      const auto length = static_cast<uint32_t>(4 * random().between(bytes_max / 8, bytes_max / 4));
      const uint64_t offset = random().one_in(4) ? 4 * random().below(file.size / 4 + 1) : file.size;
      const Range range{offset, length};
      co_await write(slot, user, file, range);
    } else if (what < 14) {
      co_await file.file.commit(slot, all);
      const std::vector<Range> lost = file.file.take_lost();
      for (const Range& range : lost)
        if (!world_.failed()) co_await write(slot, user, file, range);
    } else if (what < 16) {
      const auto length = static_cast<uint32_t>(4 * random().between(1, 50'000));
      const Range range{4 * random().below(file.size / 4 + 1), length};
      co_await file.file.read(slot, {}, range);
    } else if (what < 17) {
      co_await file.file.look(slot);
    } else if (full_) {
      // Makes room again, for all of them.
      full_ = !random().one_in(3);
      if (random().one_in(2)) {
        const uint64_t size = 4 * random().below(file.size / 4 + 1);
        co_await file.file.truncate(slot, {}, size);
        file.size = std::min(file.size, size);
      } else {
        co_await remove(slot, user);
      }
    }
  }

  // Blocks that are overwritten are needed twice.
  uint64_t needed() const {
    uint64_t bytes = margin_bytes + slack_bytes;
    for (const User& user : users_) {
      bytes += 2 * user.writing;
      for (const File& file : user.files) bytes += (file.size + block - 1) / block * block;
    }
    return bytes;
  }

  Task<> write(Slot& slot, User& user, File& file, Range range) {
    file.size = std::max(file.size, range.offset + range.length);
    user.writing = blocks_of(range);
    const uint64_t before = needed();
    const NfsStatus status = co_await file.file.write(slot, {}, range, level());
    if (status == NfsStatus::NFS4ERR_NOSPC) {
      full_ = true;
      // What has been removed meanwhile was in its way when it began, and what was written later at the end.
      if (std::max(before, needed()) < space_)
        fail("no room for {} bytes: {} of {} are needed", range.length, std::max(before, needed()), space_);
    }
    user.writing = 0;
  }

  Task<> create(Slot& slot, User& user) {
    constexpr Stateid current{.seqid = 1, .other = {}};  // RFC 8881 §16.2.3.1.2
    const std::string name = fmt::format("{} {}", &user - users_.data(), user.named++);
    slot.begin()
        .putfh(directory_)
        .open_create({slot.client().id(), "owner"}, name, bench::CreateMode::GUARDED4, 0666, 0)
        .getfh()
        .close(current);
    Reply& reply = co_await slot.ask();
    Stateid stateid;
    bench::ChangeInfo change;
    FileHandle handle;
    if (!(reply.putfh() && reply.open(stateid, change) && reply.getfh(handle) && reply.close()))
      co_return fail("create {}: {}", name, bench::status_name(reply.error()));
    user.files.push_back({JudgedFile(world_, name, handle, true)});
  }

  // The oldest.
  Task<> remove(Slot& slot, User& user) {
    const std::string name = user.files.front().file.name();
    slot.begin().putfh(directory_).remove(name);
    Reply& reply = co_await slot.ask();
    bench::ChangeInfo change;
    if (!(reply.putfh() && reply.remove(change)))
      co_return fail("remove {}: {}", name, bench::status_name(reply.error()));
    user.files.pop_front();
  }

  Task<uint64_t> space(Slot& slot) {
    slot.begin().putfh(directory_).getattr(attr::SPACE_AVAIL);
    Reply& reply = co_await slot.ask();
    Attributes attributes;
    if (!(reply.putfh() && reply.getattr(attributes))) fail("getattr: {}", bench::status_name(reply.error()));
    co_return attributes.space_avail;
  }

  std::vector<Slot*> slots_;
  std::vector<User> users_;
  FileHandle directory_;
  uint64_t operations_ = 0;
  uint64_t space_ = 0;  // of the empty store
  bool full_ = false;
};

}  // namespace

std::unique_ptr<Workload> make_full(World& world) {
  return std::make_unique<FullWorkload>(world);
}

void adjust_full(Profile& profile) {
  profile.blocks_bytes_max = store_bytes;
  profile.log_bytes = std::min<uint64_t>(profile.log_bytes, 1U << 20U);
}

}  // namespace perdure::sim
