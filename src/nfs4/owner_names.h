// Names of users and groups, which clients may write instead of numbers: "name@domain" (RFC 8881 §5.9).
// Somebody else knows them, perhaps far away: what is not known here is fetched like a row that is not in
// memory, and the run that has missed it executes again. Thread: the vserver's loop.
#pragma once

#include <absl/container/btree_map.h>

#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "env/env.h"
#include "state/run.h"

namespace perdure::nfs4 {

enum class OwnerKind : uint8_t { user, group };

// Who knows them. Answers come on the loop, once, never inline; nothing: there is no such user or group; an
// error: it cannot be told now.
class NameService {
 public:
  virtual ~NameService() = default;
  virtual void find_id(OwnerKind kind, const std::string& name, env::Done<std::optional<uint32_t>> done) = 0;
  virtual void find_name(OwnerKind kind, uint32_t id, env::Done<std::optional<std::string>> done) = 0;
};

class OwnerNames {
 public:
  struct Options {
    std::string domain;  // behind the names of this server's users
    bool shown = false;  // clients are told names, not numbers
  };
  // Without a service there are only numbers.
  OwnerNames(env::Env& env, NameService* service, Options options);

  enum class Known : uint8_t {
    unasked,
    yes,
    none,    // there is no such name or number
    failed,  // it could not be told, a moment ago
  };
  struct Id {
    Known known{};
    uint32_t id = 0;
  };
  // Of "name@domain"; none: it is not of this domain either.
  Id find_id(OwnerKind kind, std::string_view owner);
  struct Name {
    Known known{};
    std::string_view name;  // without its domain; valid until the next fetch
  };
  Name find_name(OwnerKind kind, uint32_t id);
  const Options& options() const { return options_; }

  // A name, without its domain, or a number.
  struct Question {
    OwnerKind kind{};
    std::variant<std::string, uint32_t> of;
    auto operator<=>(const Question&) const = default;
  };
  // Whoever has met this question unasked waits for its answer.
  state::Fetch fetch(Question question);
  Question question_of(OwnerKind kind, std::string_view owner) const;

 private:
  struct Entry {
    Known known = Known::unasked;
    std::variant<std::string, uint32_t> answer;
    env::Instant until{};                 // so long it is good
    std::optional<env::Instant> asked{};  // and the service has not answered
    std::vector<env::Done<void>> waiting;
  };
  const Entry* find(const Question& question);
  std::optional<std::string_view> name_of(std::string_view owner) const;
  void ask(const Question& question, env::Done<void> done);
  void answer(const Question& question, Known known, std::variant<std::string, uint32_t> answer);
  void make_room();

  env::Env& env_;
  NameService* const service_;
  const Options options_;
  absl::btree_map<Question, Entry> entries_;
  const std::shared_ptr<bool> alive_ = std::make_shared<bool>();
};

// What a run meets: the questions without an answer.
class OwnerLookup {
 public:
  // Null: only numbers.
  explicit OwnerLookup(OwnerNames* names = nullptr) : names_(names) {}
  OwnerNames* names() const { return names_; }
  void miss(OwnerNames::Question question) { missed_.push_back(std::move(question)); }
  bool any_missed() const { return !missed_.empty(); }
  std::vector<OwnerNames::Question> take_missed() { return std::exchange(missed_, {}); }

 private:
  OwnerNames* names_;
  std::vector<OwnerNames::Question> missed_;
};

}  // namespace perdure::nfs4
