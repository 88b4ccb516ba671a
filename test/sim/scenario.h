// Scenario: one request or event of which the exhaustive mode (exhaustive.h) tries every crash.
//
//   prepare()  without any crash
//   act()      the request or event under test, and what a client does because of its answer. Crashes strike
//              from its beginning until the server has nothing to do any more
//   follow()   what comes later, without crashes
//
// All that is said (Stage::say) is the outcome; it must be the same with any crash as without one. So are
// what Stage::look says in the end: the tree as a client sees it, opens, locks and sessions.
#pragma once

#include <bitset>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "sim/blade.h"
#include "sim/workload.h"

namespace perdure::sim {

// Rows of a file: two and three runs of a reclaim.
constexpr uint64_t pages = 300, extents = 560;

class Stage;

struct Scenario {
  const char* name;
  Task<> (*prepare)(Stage&) = nullptr;
  Task<> (*act)(Stage&) = nullptr;
  Task<> (*follow)(Stage&) = nullptr;
  // Between prepare() and act() the server starts again, and what it needs it has to read.
  bool cold = false;
  bool small_steps = false;  // Profile::small_steps
  uint32_t lease_seconds = 90;
  uint32_t log_megabytes = 1;  // an eighth of it is logged until a checkpoint begins
};
// scenarios/*.cc
std::vector<Scenario> name_scenarios();
std::vector<Scenario> xattr_scenarios();
std::vector<Scenario> data_scenarios();
std::vector<Scenario> open_scenarios();
std::vector<Scenario> session_scenarios();
std::vector<Scenario> job_scenarios();
std::vector<Scenario> version40_scenarios();
std::vector<Scenario> all_scenarios();

using Operations = std::bitset<128>;  // by number

// Where a scenario plays: the subject, whose requests are under test, and an observer. Both have sessions.
class Stage final : public Workload {
 public:
  explicit Stage(World& world);
  ~Stage() override;

  Client& subject() { return *subject_; }
  Client& bare() { return *bare_; }
  Client& observer() { return *observer_; }
  World& world() { return world_; }
  Blade& blade() { return world_.blade(); }
  const FileHandle& root() const { return observer_->root(); }
  Call::Owner owner(std::string_view name = "owner") { return {subject_->id(), name}; }

  // A request of the subject: call(), its operations, then co_await ask(), which says the status of each
  // operation and what it returned, and keeps stateids and the verifier.
  Call& call() { return subject_->slot(0).begin(); }
  Task<> ask();
  // The same without a session: of a third client, which has none.
  Call& call_bare();
  // `done_before`: how it is answered if it was executed before a crash (there is no cached reply).
  Task<> ask_bare(NfsStatus done_before = NfsStatus::NFS4_OK);
  // The same of an NFSv4.0 client, once that was started.
  Client& old() { return *old_; }
  Call& call_old() { return old_->slot(0).begin(); }
  Task<> ask_old();
  static void add_write(Call& call, const Stateid& stateid, uint64_t offset, bench::StableHow how,
                        uint32_t bytes, uint64_t value);
  static constexpr Call::Channel channel{.request_bytes_max = 1U << 20U,
                                         .response_bytes_max = 1U << 20U,
                                         .response_bytes_cached_max = 8192,
                                         .operations_max = 16,
                                         .requests_max = 2};
  // The current stateid (RFC 8881 §16.2.3.1.2).
  static constexpr Stateid current{.seqid = 1, .other = {}};

  // Of the last answer.
  Stateid stateid;
  Stateid kept;  // an earlier one
  uint64_t confirm = 0;
  NfsStatus status{};
  Verifier verifier{};
  FileHandle handle;
  uint64_t client_id = 0;
  uint32_t client_sequence = 0;
  bench::SessionId session{};

  // What scenarios leave for later, by name; "stateids" are looked at in the end.
  std::map<std::string, FileHandle> handles;
  std::map<std::string, Stateid> stateids;
  std::map<std::string, Verifier> verifiers;

  // Preparations. Names are in the root.
  Task<> make_file(const char* name, uint64_t blocks);  // one extent after the next checkpoint
  // So many blocks, each apart from the others: as many extents or page rows.
  Task<> make_fragmented(const char* name, uint64_t blocks);
  Task<> open_as(const char* name, const char* owner);  // leaves stateids[owner]
  // A fourth client is delegated the file, and gives it back when it is recalled. One that may write says
  // that it has, and does so before.
  Task<> delegate(const char* name, uint32_t access = bench::share_access_read);
  // The same of a fifth client, of NFSv4.0.
  Task<> delegate40(const char* name, uint32_t access = bench::share_access_read);
  // The fourth client opens the file; then it asks for a lock of its first bytes, is denied it, and waits
  // until it is told that it may come.
  Task<> open_as_holder(const char* name);
  Task<> wait_for_lock(const char* name);
  Task<> until_holder_has_lock();
  // It copies, asynchronously, and waits until it is told that this is done.
  Task<> start_holder();
  Task<> copy_as_holder(const char* from, const char* to, Call::CopyRange range);
  // The same; but it cancels the copy, and cuts the file to nothing.
  Task<> copy_and_cancel(const char* from, const char* to, Call::CopyRange range);
  // A client and a session of the third client, which is otherwise without.
  Task<> make_bare_session();
  // Extended attributes of handles[name], of so many bytes each: "0", "1", ...
  Task<> set_xattrs(const char* name, int count, size_t bytes);
  // Blocks that are not synced, in requests of up to 64; the verifier stands in verifiers[name].
  Task<> write_unstable(const char* name, uint64_t blocks);
  // COMMIT, and if the server has lost what was written, write and COMMIT again.
  Task<> commit_as_a_client_does(const char* name, uint64_t blocks);
  Task<> checkpoint();
  // Until nothing is left to do for the server.
  Task<> settle();
  // The subject says nothing any more until its lease must have ended, also if the server starts meanwhile.
  void fall_silent();
  Task<> let_lease_end();
  // All but the last moment of it.
  Task<> let_lease_almost_end();

  template <class... Args>
  void say(fmt::format_string<Args...> format, Args&&... args) {
    lines_.push_back(fmt::format(format, std::forward<Args>(args)...));
    world_.trace("{}", lines_.back());
  }
  const std::vector<std::string>& lines() const { return lines_; }
  // Says everything that the observer can see, and the subject's stateids and sessions.
  Task<> look();
  // Says how much there is of everything, by the last check.
  void count();
  void count_blocks();

  // While act() is executed: the operations that succeeded.
  void let_act(bool acting) { acting_ = acting; }
  const Operations& operations() const { return operations_; }

  Task<> setup() override;
  void start() override {}
  Task<> check() override { return look(); }
  using Workload::make_directory, Workload::create_file, Workload::open_file, Workload::close_file;

 private:
  void note(const Call& call);
  void give_back_when_recalled(Client& client, const FileHandle& file, const Stateid& delegation,
                               bool writes);
  Task<> give_back(Client& client, FileHandle file, Stateid delegation, bool writes);
  Task<std::optional<Stateid>> begin_copy(const char* from, const char* to, Call::CopyRange range);
  Task<> holder_locks(FileHandle file, NfsStatus expected);
  void read_answer(Reply& reply, const std::vector<Op>& list);
  bool read_result(Reply& reply, Op op);
  Task<> look_at_directory(std::string path, FileHandle directory);
  Task<> look_at_xattrs(std::string path, FileHandle object);
  Task<> look_at_file(std::string path, FileHandle directory, std::string name, uint64_t size);
  Task<> look_at_opens(std::string path, FileHandle directory, std::string name);
  Task<> look_at_locks(std::string path, FileHandle file);
  Task<> look_at_subject();

  Client *subject_ = nullptr, *observer_ = nullptr, *bare_ = nullptr, *old_ = nullptr, *holder_ = nullptr,
         *holder40_ = nullptr;
  Call* bare_call_ = nullptr;
  Stateid holders_open_;
  bool gives_back_ = false;
  bool holder_has_lock_ = false, copied_ = false;
  bool acting_ = false;
  Operations operations_;
  std::vector<std::string> lines_;
  std::map<uint64_t, std::string> seen_;  // file ids in look()
  env::Instant silent_since_;
};

}  // namespace perdure::sim
