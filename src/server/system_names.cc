#include "server/system_names.h"

#include <grp.h>
#include <pwd.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

namespace perdure::server {

using nfs4::OwnerKind;

namespace {

constexpr size_t questions_max = 4096;

// Calls one of the getpw...() and getgr...() with more and more memory. The entry, if there is one, is valid
// as long as `memory`.
template <class Entry, class Call>
Result<const Entry*> look_up(Entry& entry, std::vector<char>& memory, Call call) {
  constexpr size_t memory_max = 16U << 20U;
  for (memory.resize(4096);; memory.resize(2 * memory.size())) {
    Entry* found = nullptr;
    const int problem = call(&entry, memory.data(), memory.size(), &found);
    if (problem == ERANGE && memory.size() < memory_max) continue;
    if (found != nullptr) return found;
    // What getpwnam(3) says that systems give where there is no such entry.
    if (problem == 0 || problem == ENOENT || problem == ESRCH || problem == EBADF || problem == EPERM)
      return nullptr;
    return error(ErrorKind::io, "the names of users and groups cannot be read: {}",
                 std::generic_category().message(problem));
  }
}

Result<std::optional<uint32_t>> id_of(OwnerKind kind, const std::string& name) {
  std::vector<char> memory;
  if (kind == OwnerKind::user) {
    passwd entry{};
    const passwd* found = TRY(look_up(entry, memory, [&](passwd* e, char* m, size_t n, passwd** f) {
      return ::getpwnam_r(name.c_str(), e, m, n, f);
    }));
    return found != nullptr ? std::optional<uint32_t>(found->pw_uid) : std::nullopt;
  }
  group entry{};
  const group* found = TRY(look_up(entry, memory, [&](group* e, char* m, size_t n, group** f) {
    return ::getgrnam_r(name.c_str(), e, m, n, f);
  }));
  return found != nullptr ? std::optional<uint32_t>(found->gr_gid) : std::nullopt;
}

Result<std::optional<std::string>> name_of(OwnerKind kind, uint32_t id) {
  std::vector<char> memory;
  if (kind == OwnerKind::user) {
    passwd entry{};
    const passwd* found = TRY(look_up(entry, memory, [&](passwd* e, char* m, size_t n, passwd** f) {
      return ::getpwuid_r(id, e, m, n, f);
    }));
    return found != nullptr ? std::optional<std::string>(found->pw_name) : std::nullopt;
  }
  group entry{};
  const group* found = TRY(look_up(
      entry, memory, [&](group* e, char* m, size_t n, group** f) { return ::getgrgid_r(id, e, m, n, f); }));
  return found != nullptr ? std::optional<std::string>(found->gr_name) : std::nullopt;
}

}  // namespace

// What the thread and its owner share; the thread may be in the middle of a question when the owner goes.
struct SystemNames::Shared : std::enable_shared_from_this<Shared> {
  using Question = std::move_only_function<env::Task()>;  // gives what tells the answer

  std::mutex mutex;
  std::condition_variable changed;
  std::deque<Question> questions;
  env::Env* env = nullptr;  // null: nobody wants answers any more. Set by the owner's thread

  void run() {
    std::unique_lock lock(mutex);
    for (;;) {
      changed.wait(lock, [this] { return env == nullptr || !questions.empty(); });
      if (env == nullptr) return;
      Question question = std::move(questions.front());
      questions.pop_front();
      lock.unlock();
      env::Task tell = question();
      lock.lock();
      if (env == nullptr) continue;
      // The owner may go before it comes to that.
      env->post([self = shared_from_this(), tell = std::move(tell)]() mutable {
        if (self->env != nullptr) tell();
      });
    }
  }

  template <class T, class Find>
  void ask(Find find, env::Done<T> done) {
    const std::lock_guard lock(mutex);
    if (questions.size() >= questions_max) {
      env->post([done = std::move(done)]() mutable {
        done(error(ErrorKind::busy, "too many names are asked for"));
      });
      return;
    }
    questions.push_back([find = std::move(find), done = std::move(done)]() mutable -> env::Task {
      return [done = std::move(done), answer = find()]() mutable { done(std::move(answer)); };
    });
    changed.notify_one();
  }
};

SystemNames::SystemNames(env::Env& env) : shared_(std::make_shared<Shared>()) {
  shared_->env = &env;
  std::thread([shared = shared_] { shared->run(); }).detach();
}

SystemNames::~SystemNames() {
  const std::lock_guard lock(shared_->mutex);
  shared_->env = nullptr;
  shared_->questions.clear();
  shared_->changed.notify_one();
}

void SystemNames::find_id(OwnerKind kind, const std::string& name, env::Done<std::optional<uint32_t>> done) {
  shared_->ask<std::optional<uint32_t>>([kind, name] { return id_of(kind, name); }, std::move(done));
}

void SystemNames::find_name(OwnerKind kind, uint32_t id, env::Done<std::optional<std::string>> done) {
  shared_->ask<std::optional<std::string>>([kind, id] { return name_of(kind, id); }, std::move(done));
}

std::string default_owner_domain() {
  std::array<char, 256> name{};
  if (::gethostname(name.data(), name.size() - 1) != 0) return "localdomain";
  const std::string host(name.data());
  const size_t dot = host.find('.');
  return dot == std::string::npos || dot + 1 == host.size() ? "localdomain" : host.substr(dot + 1);
}

}  // namespace perdure::server
