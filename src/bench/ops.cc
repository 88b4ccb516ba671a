#include "bench/ops.h"

#include "bench/pattern.h"

namespace perdure::bench {
namespace {

constexpr uint32_t readdir_bytes = 64 << 10;
constexpr uint64_t entry_attributes = attr::TYPE | attr::FILEID;
constexpr Nanoseconds patience = milliseconds(100);

}  // namespace

Task<NfsStatus> lookup(Slot& slot, FileHandle directory, std::string_view name, FileHandle& fh,
                       Attributes& attributes) {
  slot.begin(false).putfh(directory).lookup(name).getfh().getattr(attr::usual);
  Reply& r = co_await slot.exchange();
  (void)(r.putfh() && r.plain(Op::LOOKUP) && r.getfh(fh) && r.getattr(attributes));
  co_return r.error();
}

Task<NfsStatus> getattr(Slot& slot, FileHandle fh, Attributes& attributes) {
  slot.begin(false).putfh(fh).getattr(attr::usual);
  Reply& r = co_await slot.exchange();
  (void)(r.putfh() && r.getattr(attributes));
  co_return r.error();
}

Task<NfsStatus> mkdir(Slot& slot, FileHandle directory, std::string_view name, FileHandle& fh) {
  slot.begin(true).putfh(directory).mkdir(name, 0755).getfh();
  Reply& r = co_await slot.exchange();
  ChangeInfo change;
  (void)(r.putfh() && r.create(change) && r.getfh(fh));
  co_return r.error();
}

Task<NfsStatus> remove(Slot& slot, FileHandle directory, std::string_view name) {
  slot.begin(true).putfh(directory).remove(name);
  Reply& r = co_await slot.exchange();
  ChangeInfo change;
  (void)(r.putfh() && r.remove(change));
  co_return r.error();
}

Task<NfsStatus> create(Slot& slot, FileHandle directory, std::string_view name, std::string_view owner,
                       CreateMode how, OpenFile& file) {
  const Call::Owner open_owner{slot.client().clientid(), owner};
  slot.begin(true).putfh(directory).open_create(open_owner, name, how, 0644, 0).getfh().getattr(attr::usual);
  Reply& r = co_await slot.exchange();
  ChangeInfo change;
  (void)(r.putfh() && r.open(file.stateid, change) && r.getfh(file.fh) && r.getattr(file.attributes));
  co_return r.error();
}

Task<NfsStatus> close(Slot& slot, const OpenFile& file) {
  slot.begin(true).putfh(file.fh).close(file.stateid);
  Reply& r = co_await slot.exchange();
  (void)(r.putfh() && r.close());
  co_return r.error();
}

Task<NfsStatus> write_pattern(Slot& slot, const OpenFile& file, uint64_t offset, uint32_t length,
                              StableHow stable, uint64_t key, Verifier& verifier) {
  Call& call = slot.begin(true).putfh(file.fh);
  fill_pattern(call.write(file.stateid, offset, stable, length), key, offset);
  Reply& r = co_await slot.exchange();
  uint32_t count = 0;
  StableHow how{};
  if (r.putfh() && r.write(count, how, verifier) && (count != length || how < stable))
    r.fail(NfsStatus::malformed, Op::WRITE);
  co_return r.error();
}

Task<NfsStatus> commit(Slot& slot, FileHandle fh, Verifier& verifier) {
  slot.begin(true).putfh(fh).commit(0, 0);
  Reply& r = co_await slot.exchange();
  (void)(r.putfh() && r.commit(verifier));
  co_return r.error();
}

Task<NfsStatus> check_pattern(Slot& slot, FileHandle fh, uint64_t offset, uint32_t length, uint64_t key,
                              bool& good) {
  slot.begin(false).putfh(fh).read(Stateid{}, offset, length);
  Reply& r = co_await slot.exchange();
  Bytes data;
  bool eof = false;
  good = r.putfh() && r.read(data, eof) && data.size() == length && matches_pattern(data, key, offset);
  co_return r.error();
}

Task<NfsStatus> read_directory(Slot& slot, FileHandle directory, std::vector<DirectoryEntry>& entries) {
  Verifier verifier{};
  uint64_t cookie = 0;
  for (bool eof = false; !eof;) {
    slot.begin(false).putfh(directory).readdir(cookie, verifier, readdir_bytes, entry_attributes);
    Reply& r = co_await slot.exchange();
    if (!(r.putfh() && r.readdir(verifier))) co_return r.error();
    const size_t before = entries.size();
    Reply::Entry entry;
    while (r.next_entry(entry, eof)) {
      entries.push_back({std::string(entry.name), entry.attributes});
      cookie = entry.cookie;
    }
    if (r.failed()) co_return r.error();
    if (!eof && entries.size() == before) co_return NfsStatus::malformed;  // would never end
  }
  co_return NfsStatus::NFS4_OK;
}

Task<bool> wait_and_repeat(Slot& slot, NfsStatus status) {
  if (status != NfsStatus::NFS4ERR_DELAY && status != NfsStatus::NFS4ERR_GRACE) co_return false;
  co_await slot.client().sleep(patience);
  co_return true;
}

}  // namespace perdure::bench
