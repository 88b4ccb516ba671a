// Files that share blocks: each belongs to one slot, which writes, truncates and punches it, and fills it
// from others of its files by CLONE and COPY. In between the server writes back, checkpoints, frees blocks,
// and dies.
//
// Judged, exactly: every byte that is read by READ and READ_PLUS, against a copy of the content in memory;
// sizes; where SEEK says that data and holes are. A clone that lacks space may have been made in part: the
// file is cut to nothing then. What is unstable is committed before anything else is done with the file.
#include <deque>
#include <map>
#include <optional>

#include "sim/workload.h"

namespace perdure::sim {
namespace {

using bench::StableHow;

class ClonesWorkload final : public Workload {
 public:
  explicit ClonesWorkload(World& world) : Workload(world, "clones") {}

  Task<> setup() override {
    const uint64_t count = random().between(1, 2);
    for (uint64_t i = 0; i < count && !world_.failed(); ++i) {
      Client& client =
          add_client({.slots = static_cast<uint32_t>(random().between(1, 2)), .back_channel = true});
      client.on_copied = [this](const Stateid& stateid, NfsStatus status, uint64_t bytes) {
        copied_[stateid.other] = {status, bytes};
      };
      clients_.push_back(&client);
      co_await client.start();
    }
    if (world_.failed()) co_return;
    blocks_max_ = random().pick({6U, 40U, 200U});
    const std::string name = "clones", owner = "owner";
    Slot& first = clients_[0]->slot(0);
    const FileHandle directory = co_await make_directory(first, clients_[0]->root(), name);
    uint64_t n = 0;
    for (Slot* slot : slots_of(clients_)) {
      Worker& worker = workers_.emplace_back(Worker{*slot, {}});
      const uint64_t files = random().between(2, 4);
      for (uint64_t i = 0; i < files && !world_.failed(); ++i) {
        const std::string file = fmt::format("file {}", n++);
        const OpenFile created = co_await create_file(*slot, directory, file, owner);
        worker.files.push_back({file, created.handle, {}});
      }
    }
  }

  void start() override {
    for (Worker& worker : workers_) spawn(work(worker));
  }

  Task<> check() override {
    for (Worker& worker : workers_)
      for (File& file : worker.files) {
        co_await read_all(worker.slot, file);
        if (world_.failed()) co_return;
      }
  }

 private:
  struct File {
    std::string name;
    FileHandle handle;
    ByteVector content;
  };
  struct Worker {
    Slot& slot;
    std::vector<File> files;
  };

  Task<> work(Worker& worker) {
    const uint64_t operations = random().between(10, 80);
    for (uint64_t i = 0; i < operations && !world_.failed(); ++i) {
      co_await step(worker);
      if (random().one_in(8))
        co_await worker.slot.client().sleep(random().exponential(std::chrono::milliseconds(50)));
    }
  }

  Task<> step(Worker& worker) {
    File& file = worker.files[random().below(worker.files.size())];
    File& other = worker.files[random().below(worker.files.size())];
    switch (random().below(16)) {
      case 0:
      case 1:
      case 2:
      case 3:
        return write(worker.slot, file);
      case 4:
      case 5:
      case 6:
        return clone(worker.slot, other, file);
      case 7:
      case 8:
        return copy(worker.slot, other, file);
      case 9:
      case 10:
        return punch(worker.slot, file);
      case 11:
        return truncate(worker.slot, file, random().one_in(3) ? 0 : random().below(file.content.size() + 1));
      case 12:
        return allocate(worker.slot, file);
      case 13:
        return seek(worker.slot, file);
      default:
        return read_all(worker.slot, file);
    }
  }

  uint64_t place() {
    const uint64_t within = random().one_in(2) ? 0 : random().below(block);
    return random().below(blocks_max_) * block + within;
  }
  void put(File& file, uint64_t offset, Bytes bytes) {
    if (file.content.size() < offset + bytes.size()) file.content.resize(offset + bytes.size());
    std::copy(bytes.begin(), bytes.end(), file.content.begin() + static_cast<ptrdiff_t>(offset));
  }
  // True: it is done. Without space nothing is.
  bool done(const char* what, const File& file, const Reply& reply, bool ok) {
    world_.trace("clones {}: {}: {}", file.name, what, ok ? "done" : bench::status_name(reply.error()));
    if (ok) return true;
    if (reply.error() != NfsStatus::NFS4ERR_NOSPC)
      fail("{}: {}: {}", file.name, what, bench::status_name(reply.error()));
    return false;
  }

  // Until it is stable: what may have been lost is written again.
  Task<> write(Slot& slot, File& file) {
    const uint64_t offset = place();
    const auto length = static_cast<uint32_t>(4 * random().between(1, random().pick({64U, 4096U, 40000U})));
    const StableHow how = random().pick({StableHow::UNSTABLE4, StableHow::FILE_SYNC4});
    ByteVector bytes(length);
    const uint64_t number = ++writes_;
    for (size_t i = 0; i < length; ++i)
      bytes[i] = static_cast<std::byte>((number * 7 + (offset + i) * 13 + (offset + i) / 251) | 1U);
    world_.trace("clones {}: write [{}, +{})", file.name, offset, length);
    for (bool stable = false; !stable && !world_.failed();) {
      Call& call = slot.begin().putfh(file.handle);
      const MutableBytes to = call.write({}, offset, how, length);
      std::copy(bytes.begin(), bytes.end(), to.begin());
      Reply& reply = co_await slot.ask();
      uint32_t count = 0;
      StableHow level{};
      Verifier before{}, after{};
      if (!done("write", file, reply, reply.putfh() && reply.write(count, level, before))) co_return;
      if (count != length) fail("{}: {} bytes of {} written", file.name, count, length);
      stable = level == StableHow::FILE_SYNC4;
      if (stable) break;
      slot.begin().putfh(file.handle).commit(0, 0);
      Reply& committed = co_await slot.ask();
      if (!done("commit", file, committed, committed.putfh() && committed.commit(after))) {
        fail("{}: no space for a COMMIT", file.name);
        co_return;
      }
      stable = before == after;
    }
    put(file, offset, bytes);
  }

  Task<> clone(Slot& slot, File& from, File& to) {
    const uint64_t blocks = (from.content.size() + block - 1) / block;
    if (blocks == 0) co_return;
    const uint64_t first = random().below(blocks), target = random().below(blocks_max_);
    uint64_t length = random().between(1, blocks - first) * block;
    if (first * block + length > from.content.size()) {
      length = from.content.size() - first * block;
      if (target * block + length < to.content.size() && length % block != 0) co_return;
    }
    if (&from == &to && std::max(first, target) * block < std::min(first, target) * block + length) co_return;
    world_.trace("clones {}: clone [{}, +{}) of {} to {}", to.name, first * block, length, from.name,
                 target * block);
    slot.begin().putfh(from.handle).savefh().putfh(to.handle);
    slot.call().clone({}, {}, {first * block, target * block, length});
    Reply& reply = co_await slot.ask();
    const bool ok =
        reply.putfh() && reply.plain(bench::Op::SAVEFH) && reply.putfh() && reply.plain(bench::Op::CLONE);
    if (!done("clone", to, reply, ok)) {
      if (!world_.failed()) co_await truncate(slot, to, 0);
      co_return;
    }
    const ByteVector bytes(from.content.begin() + static_cast<ptrdiff_t>(first * block),
                           from.content.begin() + static_cast<ptrdiff_t>(first * block + length));
    put(to, target * block, bytes);
  }

  Task<> copy(Slot& slot, File& from, File& to) {
    if (from.content.empty()) co_return;
    const uint64_t first = random().one_in(2) ? 0 : random().below(from.content.size());
    const uint64_t target = random().one_in(2) ? place() / block * block + first % block : place();
    const uint64_t length = random().between(1, from.content.size() - first);
    if (&from == &to && std::max(first, target) < std::min(first, target) + length) co_return;
    world_.trace("clones {}: copy [{}, +{}) of {} to {}", to.name, first, length, from.name, target);
    slot.begin().putfh(from.handle).savefh().putfh(to.handle);
    slot.call().copy({}, {}, {first, target, length}, random().one_in(2));
    Reply& reply = co_await slot.ask();
    uint64_t count = 0;
    StableHow level{};
    Verifier verifier{};
    std::optional<Stateid> asynchronous;
    const bool ok = reply.putfh() && reply.plain(bench::Op::SAVEFH) && reply.putfh() &&
                    reply.copy(count, level, verifier, asynchronous);
    if (!done("copy", to, reply, ok)) co_return;
    if (asynchronous) {
      const bool whole = co_await await_copy(slot, to, *asynchronous, length, count);
      if (world_.failed()) co_return;
      if (!whole) co_return co_await truncate(slot, to, 0);
    }
    if (count > length || level != StableHow::FILE_SYNC4)
      fail("{}: {} bytes copied of {}", to.name, count, length);
    const ByteVector bytes(from.content.begin() + static_cast<ptrdiff_t>(first),
                           from.content.begin() + static_cast<ptrdiff_t>(first + count));
    put(to, target, bytes);
  }

  // Until the server says that the copy has ended, or it is cancelled: then, and where space was lacking, it
  // may have been made in part, and the result is false.
  Task<bool> await_copy(Slot& slot, File& to, Stateid copy, uint64_t length, uint64_t& count) {
    env::Duration passed{};
    const bool cancels = random().one_in(6);
    const env::Duration patience = random().exponential(std::chrono::milliseconds(20));
    bool gone = false;
    while (!copied_.contains(copy.other) && !world_.failed()) {
      const env::Duration step = random().exponential(std::chrono::milliseconds(10));
      co_await slot.client().sleep(step);
      passed += step;
      if (cancels && passed > patience) {
        slot.begin().putfh(to.handle).offload_cancel(copy);
        Reply& reply = co_await slot.ask();
        const bool ok = reply.putfh() && reply.plain(bench::Op::OFFLOAD_CANCEL);
        if (!ok && reply.error() != NfsStatus::NFS4ERR_BAD_STATEID)
          fail("{}: OFFLOAD_CANCEL: {}", to.name, bench::status_name(reply.error()));
        world_.trace("clones {}: copy: cancelled: {}", to.name, bench::status_name(reply.error()));
        co_return false;
      }
      if (!random().one_in(4)) continue;
      slot.begin().putfh(to.handle).offload_status(copy);
      Reply& reply = co_await slot.ask();
      uint64_t so_far = 0;
      std::optional<NfsStatus> ended;
      if (reply.putfh() && reply.offload_status(so_far, ended)) {
        if (gone) fail("{}: a copy has come back", to.name);
        if (so_far > length) fail("{}: {} bytes copied of {}", to.name, so_far, length);
        if (so_far < count) fail("{}: {} bytes copied, and {} before", to.name, so_far, count);
        count = so_far;
      } else if (reply.error() == NfsStatus::NFS4ERR_BAD_STATEID) {
        gone = true;  // the call that says so must have been answered, or is on its way
        if (!copied_.contains(copy.other)) fail("{}: a copy has ended without a word", to.name);
      } else {
        fail("{}: OFFLOAD_STATUS: {}", to.name, bench::status_name(reply.error()));
      }
    }
    if (world_.failed()) co_return false;
    const auto [status, bytes] = copied_[copy.other];
    world_.trace("clones {}: copy: ended: {}, {} bytes", to.name, bench::status_name(status), bytes);
    count = bytes;
    if (status == NfsStatus::NFS4_OK) {
      if (bytes != length) fail("{}: {} bytes copied of {}", to.name, bytes, length);
      co_return true;
    }
    const bool disk = status == NfsStatus::NFS4ERR_IO && world_.profile().disks_fail();
    if (status != NfsStatus::NFS4ERR_NOSPC && !disk)
      fail("{}: copy: {}", to.name, bench::status_name(status));
    co_return false;
  }

  Task<> punch(Slot& slot, File& file) {
    const uint64_t offset = place(), length = random().between(1, blocks_max_ * block);
    world_.trace("clones {}: punch [{}, +{})", file.name, offset, length);
    slot.begin().putfh(file.handle).deallocate({}, offset, length);
    Reply& reply = co_await slot.ask();
    if (!(reply.putfh() && reply.plain(bench::Op::DEALLOCATE))) {
      fail("{}: deallocate: {}", file.name, bench::status_name(reply.error()));
      co_return;
    }
    const uint64_t end = std::min<uint64_t>(offset + length, file.content.size());
    for (uint64_t i = offset; i < end; ++i) file.content[i] = std::byte{0};
  }

  Task<> truncate(Slot& slot, File& file, uint64_t size) {
    world_.trace("clones {}: size {}", file.name, size);
    slot.begin().putfh(file.handle).set_size({}, size);
    Reply& reply = co_await slot.ask();
    if (!(reply.putfh() && reply.setattr()))
      fail("{}: truncate: {}", file.name, bench::status_name(reply.error()));
    file.content.resize(size);
  }

  Task<> allocate(Slot& slot, File& file) {
    const uint64_t offset = place(), length = random().between(1, 10 * block);
    world_.trace("clones {}: allocate [{}, +{})", file.name, offset, length);
    slot.begin().putfh(file.handle).allocate({}, offset, length);
    Reply& reply = co_await slot.ask();
    if (!done("allocate", file, reply, reply.putfh() && reply.plain(bench::Op::ALLOCATE))) co_return;
    if (file.content.size() < offset + length) file.content.resize(offset + length);
  }

  // What is not zero lies in data; what lies in a hole is zero.
  Task<> seek(Slot& slot, File& file) {
    if (file.content.empty()) co_return;
    const uint64_t offset = random().below(file.content.size());
    const bool hole = random().one_in(2);
    slot.begin().putfh(file.handle).seek({}, offset, hole);
    Reply& reply = co_await slot.ask();
    uint64_t found = 0;
    bool eof = false;
    if (!(reply.putfh() && reply.seek(found, eof))) {
      fail("{}: seek: {}", file.name, bench::status_name(reply.error()));
      co_return;
    }
    const uint64_t size = file.content.size();
    if (found < offset || found > size || eof != (found == size))
      fail("{}: from {} of {} bytes to {}{}", file.name, offset, size, found, eof ? ", the end" : "");
    if (hole) co_return;
    for (uint64_t i = offset; i < found && !world_.failed(); ++i)
      if (file.content[i] != std::byte{0})
        fail("{}: no data from {} to {}, but byte {}", file.name, offset, found, i);
  }

  Task<> read_all(Slot& slot, File& file) {
    ByteVector content;
    bool eof = false;
    while (!eof && !world_.failed()) {
      const auto length = static_cast<uint32_t>(random().between(1, 100'000));
      const bool plus = random().one_in(2);
      Call& call = slot.begin().putfh(file.handle);
      if (plus)
        call.read_plus({}, content.size(), length);
      else
        call.read({}, content.size(), length);
      Reply& reply = co_await slot.ask();
      const uint64_t before = content.size();
      if (!(reply.putfh() && append(reply, plus, content, eof)))
        fail("{}: read: {}", file.name, bench::status_name(reply.error()));
      if (content.size() == before && !eof) fail("{}: nothing read at {}", file.name, before);
    }
    if (world_.failed()) co_return;
    if (content.size() != file.content.size())
      fail("{}: {} bytes long instead of {}", file.name, content.size(), file.content.size());
    for (size_t i = 0; i < content.size() && !world_.failed(); ++i)
      if (content[i] != file.content[i])
        fail("{}: byte {} is {} instead of {}", file.name, i, std::to_integer<int>(content[i]),
             std::to_integer<int>(file.content[i]));
  }

  static bool append(Reply& reply, bool plus, ByteVector& content, bool& eof) {
    Bytes data;
    if (!plus) {
      if (!reply.read(data, eof)) return false;
      content.insert(content.end(), data.begin(), data.end());
      return true;
    }
    if (!reply.read_plus(eof)) return false;
    Reply::Segment segment;
    while (reply.next_segment(segment)) {
      if (segment.offset != content.size() || segment.length > 1'000'000)
        return reply.fail(NfsStatus::malformed, bench::Op::READ_PLUS);
      content.insert(content.end(), segment.data.begin(), segment.data.end());
      content.resize(segment.offset + segment.length);
    }
    return !reply.failed();
  }

  std::vector<Client*> clients_;
  std::deque<Worker> workers_;
  uint64_t blocks_max_ = 0, writes_ = 0;
  struct Copied {
    NfsStatus status{};
    uint64_t bytes = 0;
  };
  std::map<std::array<std::byte, 12>, Copied> copied_;  // by what the server's calls say
};

}  // namespace

std::unique_ptr<Workload> make_clones(World& world) {
  return std::make_unique<ClonesWorkload>(world);
}

}  // namespace perdure::sim
