// CrashWorker: one slot's part of the crash test. It changes its own directory at random, one request at a
// time, and keeps a Model of what was acknowledged; so it knows what each answer must be, across every lost
// connection and every death of the server. Most operations cannot be repeated without a trace: a second
// execution fails (EXIST, NOENT), moves a change attribute that nobody else may move, or counts a stateid
// twice.
//
// An answer that is not as it must be ends the worker and is reported; its model says from then on what may
// be missing.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "bench/crash/block.h"
#include "bench/crash/crash_options.h"
#include "bench/crash/journal.h"
#include "bench/crash/model.h"
#include "bench/ops.h"
#include "bench/pattern.h"

namespace perdure::bench {

// What all workers share.
struct CrashShared {
  const CrashOptions& options;
  Client& client;
  Journal& journal;
  FileHandle directory = {};
  std::vector<FileHandle> counters = {};
  std::vector<bool> counter_held = {};  // between a LOCK that was answered and a LOCKU that is sent
  Nanoseconds until = 0;

  std::map<std::string, uint64_t> acknowledged = {};  // by operation
  uint64_t checks = 0;                                // reads that were as expected
  uint64_t verifier_changes = 0;                      // unstable data that had to be written again
  std::vector<std::string> failures = {};
};

std::string worker_directory(size_t worker);
std::string counter_name(size_t counter);

class CrashWorker {
 public:
  CrashWorker(CrashShared& shared, Slot& slot);

  // Makes its directory.
  Task<> prepare();
  // Until the time is over or something is wrong.
  Task<> run();

  const Model& model() const { return model_; }
  const std::optional<Action>& pending() const { return pending_; }

 private:
  struct CounterUse {
    bool opened = false;
    Stateid open;
    bool known = false;
    Stateid lock;
    uint64_t last_value = 0;
  };

  Task<> one();

  // Names (crash_worker_names.cc).
  Task<> create_file();
  Task<> make(Action action);  // mkdir, symlink
  Task<> link();
  Task<> rename();
  Task<> remove();
  Task<bool> remove_name(const char* what, const std::string& path);
  Task<> rmdir();
  Task<> refused();
  Task<> look_up();
  Task<> list();

  // Data and locks (crash_worker_data.cc).
  Task<bool> open(const std::string& path);
  Task<> close_file(NodeRef node);
  Task<> write(bool stable);
  Task<bool> write_blocks(Node& node, const Action& action, StableHow stable, Verifier& verifier);
  Task<bool> commit_all(Node& node, Verifier& verifier);
  Task<> truncate();
  Task<> read();
  Task<> increment();
  Task<bool> open_counter(uint64_t counter);
  Task<bool> lock_counter(uint64_t counter);
  Task<bool> add_one(uint64_t counter);

  // Begins a change in a directory: its handle is current, its change attribute the first result.
  Call& begin_in(const Node& directory) {
    return slot_.begin(true).putfh(directory.fh).getattr(attr::CHANGE);
  }
  // The change attribute that was found against the one that is known.
  bool unchanged(const Node& node, uint64_t found, const std::string& what);
  // Whether to ask once more, as a new request: the server wants patience; or, of what only reads, it did not
  // keep the reply that a lost connection took with it.
  Task<bool> again(const Reply& reply);
  Task<bool> read_again(const Reply& reply);
  bool over() const { return failed_ || shared_.client.now() >= shared_.until; }

  void ask(const Action& action);
  void acknowledge();
  void fail(const std::string& what);
  void fail(const std::string& what, const Reply& reply);

  // Random choices; empty if there is nothing to choose from.
  std::string any(FileType type);
  std::string any_directory();
  std::string free_path();

  CrashShared& shared_;
  Slot& slot_;
  const size_t index_;
  const std::string owner_;
  Random random_;
  Model model_;
  std::optional<Action> pending_;
  uint64_t next_id_;
  uint64_t next_version_ = 0;
  std::vector<NodeRef> open_files_;
  std::vector<CounterUse> counters_;
  bool failed_ = false;
};

}  // namespace perdure::bench
