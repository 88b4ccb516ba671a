// Findings: what a checker found wrong, each in words, on its way to whoever shows it.
//
// Of one kind (one format string) only the first `shown_max` are passed on: where a disk is broken, thousands
// of lines say less than ten. All are counted.
#pragma once

#include <absl/container/btree_map.h>
#include <fmt/format.h>

#include <functional>
#include <string>
#include <string_view>

namespace perdure::state {

class Findings {
 public:
  using Show = std::function<void(const std::string& line)>;
  explicit Findings(Show show, uint64_t shown_max = 100) : show_(std::move(show)), shown_max_(shown_max) {}

  template <class... Args>
  void add(fmt::format_string<Args...> format, Args&&... args) {
    const fmt::string_view kind = format;
    if (counts({kind.data(), kind.size()})) show_(fmt::format(format, std::forward<Args>(args)...));
  }
  // The same for a line that is made elsewhere. `kind` lives for ever.
  void add_line(std::string_view kind, const std::string& line) {
    if (counts(kind)) show_(line);
  }
  uint64_t count() const { return count_; }

 private:
  // Whether it is to be shown.
  bool counts(std::string_view kind) {
    ++count_;
    const uint64_t of_kind = ++kinds_[kind];
    if (of_kind == shown_max_ + 1) show_("(more of this kind are counted, and not shown)");
    return of_kind <= shown_max_;
  }

  Show show_;
  const uint64_t shown_max_;
  uint64_t count_ = 0;
  absl::btree_map<std::string_view, uint64_t> kinds_;
};

}  // namespace perdure::state
