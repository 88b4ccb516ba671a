// Workload: what the clients of a simulation do, and how it is judged. One file each in workloads/.
//
//   setup()   before any fault: directories, files, sessions
//   start()   spawns what runs while faults strike; it ends by itself
//   check()   after the last fault: whether everything is as the clients were told
//
// Several may run in one world, each in a directory of its own, named after it.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "sim/client.h"

namespace perdure::sim {

class Workload {
 public:
  Workload(World& world, std::string name) : world_(world), name_(std::move(name)) {}
  Workload(const Workload&) = delete;
  Workload& operator=(const Workload&) = delete;
  virtual ~Workload() = default;

  virtual Task<> setup() = 0;
  virtual void start() = 0;
  virtual Task<> check() = 0;

  bool ended() const { return tasks_.all_done(); }
  const std::string& name() const { return name_; }

 protected:
  Client& add_client(Client::Options options = {}) { return add_client(options, {}); }
  // `called`: as the client of which it is a new incarnation.
  Client& add_client(Client::Options options, std::string called);
  // Several at once, each with a number of slots between these. The world has failed unless all have a
  // session.
  Task<std::vector<Client*>> start_clients(uint64_t count, uint64_t slots_min, uint64_t slots_max);
  static std::vector<Slot*> slots_of(const std::vector<Client*>& clients);
  // What the server does by itself is done within this time, also on a slow disk.
  env::Duration patience() const;
  void spawn(Task<> task) { tasks_.spawn(std::move(task)); }
  Random& random() { return world_.random(); }
  template <class... Args>
  void fail(fmt::format_string<Args...> format, Args&&... args) {
    world_.fail("{}: {}", name_, fmt::format(format, std::forward<Args>(args)...));
  }

  // What many need. Each fails the world unless it succeeds.
  Task<FileHandle> make_directory(Slot& slot, FileHandle parent, const std::string& name);
  struct OpenFile {
    FileHandle handle;
    Stateid stateid;
  };
  Task<OpenFile> create_file(Slot& slot, FileHandle directory, const std::string& name,
                             const std::string& owner);
  Task<OpenFile> open_file(Slot& slot, FileHandle directory, const std::string& name,
                           const std::string& owner);
  Task<> close_file(Slot& slot, OpenFile file);
  // Everything in the directory, in several requests if `bytes_max` is small.
  using Names = std::vector<std::pair<std::string, uint64_t>>;  // with file ids
  Task<Names> list(Slot& slot, FileHandle directory, uint32_t bytes_max = 32768);

  World& world_;

 private:
  const std::string name_;
  std::vector<std::unique_ptr<Client>> clients_;
  bench::TaskGroup tasks_;  // refer to clients
};

struct WorkloadType {
  const char* name;
  std::unique_ptr<Workload> (*make)(World&);
  ProfileLimits limits;
  void (*adjust)(Profile&) = nullptr;  // of the drawn profile, to what it is about
  bool alone = false;                  // never together with another one
};
const std::vector<WorkloadType>& workload_types();

std::unique_ptr<Workload> make_clones(World&);
std::unique_ptr<Workload> make_delegations(World&);
std::unique_ptr<Workload> make_delegated_sizes(World&);
std::unique_ptr<Workload> make_acls(World&);
std::unique_ptr<Workload> make_files(World&);
std::unique_ptr<Workload> make_flood(World&);
void adjust_flood(Profile&);
std::unique_ptr<Workload> make_full(World&);
void adjust_full(Profile&);
std::unique_ptr<Workload> make_glances(World&);
void adjust_glances(Profile&);
std::unique_ptr<Workload> make_growth(World&);
std::unique_ptr<Workload> make_tree(World&);
std::unique_ptr<Workload> make_ring(World&);
std::unique_ptr<Workload> make_exclusive(World&);
std::unique_ptr<Workload> make_counters(World&);
std::unique_ptr<Workload> make_lines(World&);
std::unique_ptr<Workload> make_shares(World&);
std::unique_ptr<Workload> make_version40(World&);
std::unique_ptr<Workload> make_xattrs(World&);
std::unique_ptr<Workload> make_leases(World&);
void adjust_leases(Profile& profile);

}  // namespace perdure::sim
