#include "sim/workload.h"

namespace perdure::sim {

env::Duration Workload::patience() const {
  const Profile& p = world_.profile();
  return std::chrono::seconds(10) + (p.io_slow_one_in != 0 ? p.io_slow * 40 : env::Duration(0));
}

Client& Workload::add_client(Client::Options options, std::string called) {
  if (called.empty()) called = fmt::format("{} {}", name_, clients_.size());
  clients_.push_back(std::make_unique<Client>(world_, std::move(called), world_.random().next(), options));
  return *clients_.back();
}

Task<std::vector<Client*>> Workload::start_clients(uint64_t count, uint64_t slots_min, uint64_t slots_max) {
  std::vector<Client*> started;
  for (uint64_t i = 0; i < count && !world_.failed(); ++i) {
    Client& client = add_client({.slots = static_cast<uint32_t>(random().between(slots_min, slots_max))});
    started.push_back(&client);
    co_await client.start();
  }
  co_return started;
}

std::vector<Slot*> Workload::slots_of(const std::vector<Client*>& clients) {
  std::vector<Slot*> slots;
  for (Client* client : clients)
    for (size_t n = 0; n < client->slots(); ++n) slots.push_back(&client->slot(n));
  return slots;
}

Task<FileHandle> Workload::make_directory(Slot& slot, FileHandle parent, const std::string& name) {
  FileHandle handle;
  bench::ChangeInfo change;
  slot.begin().putfh(parent).mkdir(name, 0777).getfh();
  Reply& reply = co_await slot.ask();
  if (!(reply.putfh() && reply.create(change) && reply.getfh(handle)))
    fail("mkdir {}: {}", name, bench::status_name(reply.error()));
  co_return handle;
}

Task<Workload::OpenFile> Workload::create_file(Slot& slot, FileHandle directory, const std::string& name,
                                               const std::string& owner) {
  OpenFile file;
  bench::ChangeInfo change;
  slot.begin()
      .putfh(directory)
      .open_create({slot.client().id(), owner}, name, bench::CreateMode::GUARDED4, 0666, 0)
      .getfh();
  Reply& reply = co_await slot.ask();
  if (!(reply.putfh() && reply.open(file.stateid, change) && reply.getfh(file.handle)))
    fail("create {}: {}", name, bench::status_name(reply.error()));
  co_return file;
}

Task<Workload::OpenFile> Workload::open_file(Slot& slot, FileHandle directory, const std::string& name,
                                             const std::string& owner) {
  OpenFile file;
  bench::ChangeInfo change;
  slot.begin().putfh(directory).open({slot.client().id(), owner}, bench::share_access_both, name).getfh();
  Reply& reply = co_await slot.ask();
  if (!(reply.putfh() && reply.open(file.stateid, change) && reply.getfh(file.handle)))
    fail("open {}: {}", name, bench::status_name(reply.error()));
  co_return file;
}

Task<> Workload::close_file(Slot& slot, OpenFile file) {
  slot.begin().putfh(file.handle).close(file.stateid);
  Reply& reply = co_await slot.ask();
  if (!(reply.putfh() && reply.close())) fail("close: {}", bench::status_name(reply.error()));
}

Task<Workload::Names> Workload::list(Slot& slot, FileHandle directory, uint32_t bytes_max) {
  Names names;
  uint64_t cookie = 0;
  Verifier verifier{};
  for (bool eof = false; !eof && !world_.failed();) {
    slot.begin().putfh(directory).readdir(cookie, verifier, bytes_max, attr::FILEID);
    Reply& reply = co_await slot.ask();
    if (!(reply.putfh() && reply.readdir(verifier))) {
      fail("readdir: {}", bench::status_name(reply.error()));
      break;
    }
    Reply::Entry entry;
    while (reply.next_entry(entry, eof)) {
      names.emplace_back(entry.name, entry.attributes.fileid);
      cookie = entry.cookie;
    }
    if (reply.failed()) fail("readdir: {}", bench::status_name(reply.error()));
  }
  co_return names;
}

const std::vector<WorkloadType>& workload_types() {
  static const std::vector<WorkloadType> types{
      {"tree", make_tree, {}},
      {"ring", make_ring, {}},
      {"exclusive", make_exclusive, {}},
      {"counters", make_counters, {}},
      {"lines", make_lines, {}},
      {"shares", make_shares, {}},
      {"leases", make_leases, {}, adjust_leases},
      {"acls", make_acls, {}},
      {"files", make_files, {}},
      {"clones", make_clones, {}},
      {"delegations", make_delegations, {}},
      {"delegated_sizes", make_delegated_sizes, {}},
      {"growth", make_growth, {}},
      {"version40", make_version40, {}},
      {"xattrs", make_xattrs, {}},
      {"glances", make_glances, {}, adjust_glances},
      {"flood", make_flood, {}, adjust_flood},
      {"full", make_full, {}, adjust_full, true},
  };
  return types;
}

}  // namespace perdure::sim
