#include "nfs4/owner_names.h"

#include <algorithm>
#include <cctype>

#include "base/mark.h"

namespace perdure::nfs4 {

namespace {
constexpr size_t entries_max = 65'536;
constexpr env::Duration patience = std::chrono::seconds(5);
constexpr env::Duration good_for = std::chrono::minutes(10), none_for = std::chrono::minutes(1),
                        failed_for = std::chrono::seconds(5);

bool same_domain(std::string_view a, std::string_view b) {
  return std::ranges::equal(
      a, b, [](unsigned char x, unsigned char y) { return std::tolower(x) == std::tolower(y); });
}
}  // namespace

OwnerNames::OwnerNames(env::Env& env, NameService* service, Options options)
    : env_(env), service_(service), options_(std::move(options)) {}

// A name is nobody's whose domain is another one.
std::optional<std::string_view> OwnerNames::name_of(std::string_view owner) const {
  const size_t at = owner.rfind('@');
  if (service_ == nullptr || at == std::string_view::npos || at == 0) return std::nullopt;
  if (owner.find('\0') != std::string_view::npos) return std::nullopt;
  if (!same_domain(owner.substr(at + 1), options_.domain)) return std::nullopt;
  return owner.substr(0, at);
}

auto OwnerNames::question_of(OwnerKind kind, std::string_view owner) const -> Question {
  return {kind, std::string(name_of(owner).value_or(""))};
}

auto OwnerNames::find(const Question& question) -> const Entry* {
  const auto it = entries_.find(question);
  if (it == entries_.end() || it->second.until < env_.now()) return nullptr;
  return &it->second;
}

auto OwnerNames::find_id(OwnerKind kind, std::string_view owner) -> Id {
  const std::optional<std::string_view> name = name_of(owner);
  if (!name) return {.known = Known::none};
  const Entry* entry = find({kind, std::string(*name)});
  if (entry == nullptr) return {};
  return {entry->known, entry->known == Known::yes ? std::get<uint32_t>(entry->answer) : 0};
}

auto OwnerNames::find_name(OwnerKind kind, uint32_t id) -> Name {
  if (service_ == nullptr) return {.known = Known::none, .name = {}};
  const Entry* entry = find({kind, id});
  if (entry == nullptr) return {};
  return {entry->known,
          entry->known == Known::yes ? std::get<std::string>(entry->answer) : std::string_view()};
}

state::Fetch OwnerNames::fetch(Question question) {
  return [this, question = std::move(question)](env::Done<void> done) { ask(question, std::move(done)); };
}

void OwnerNames::ask(const Question& question, env::Done<void> done) {
  if (find(question) != nullptr) {  // somebody else has asked meanwhile
    env_.post([done = std::move(done)]() mutable { done({}); });
    return;
  }
  make_room();
  Entry& entry = entries_[question];
  entry.waiting.push_back(std::move(done));
  if (entry.asked) return;
  entry.asked = env_.now();
  const auto told = [this, question, alive = std::weak_ptr(alive_)](const auto& result) {
    if (alive.expired()) return;
    if (!result)
      answer(question, Known::failed, {});
    else if (!*result)
      answer(question, Known::none, {});
    else
      answer(question, Known::yes, **result);
  };
  env_.after(patience, [this, question, asked = entry.asked, alive = std::weak_ptr(alive_)] {
    if (alive.expired()) return;
    const auto it = entries_.find(question);
    if (it == entries_.end() || it->second.asked != asked) return;
    PERDURE_MARK("a name is not told in time");
    answer(question, Known::failed, {});
  });
  if (const auto* name = std::get_if<std::string>(&question.of))
    service_->find_id(question.kind, *name, told);
  else
    service_->find_name(question.kind, std::get<uint32_t>(question.of), told);
}

void OwnerNames::answer(const Question& question, Known known, std::variant<std::string, uint32_t> answer) {
  Entry& entry = entries_[question];
  entry.known = known;
  entry.answer = std::move(answer);
  entry.until = env_.now() + (known == Known::yes ? good_for : known == Known::none ? none_for : failed_for);
  entry.asked.reset();
  for (env::Done<void>& done : std::exchange(entry.waiting, {})) done({});
}

// What nobody waits for can be asked again.
void OwnerNames::make_room() {
  if (entries_.size() < entries_max) return;
  absl::erase_if(entries_, [](const auto& entry) { return !entry.second.asked; });
}

}  // namespace perdure::nfs4
