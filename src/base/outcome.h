// Outcome<T>: what code inside a run returns (state/run.h). Beside a value there are three ways to stop:
//   status  the operation ends here with this Status; its changes go back to its savepoint;
//   fault   a row or page that is not in memory is needed: the whole run is abandoned, the missing thing is
//   fetched,
//           and the run executes again from its start. What is missing stands in the Run;
//   wait    the transaction has registered with whoever will resume it; the run ends and keeps its changes.
#pragma once

#include <expected>

#include "base/check.h"
#include "base/result.h"
#include "base/status.h"

namespace perdure {

class Stop {
 public:
  enum class Kind : uint8_t { status, fault, wait };

  constexpr Stop(Status status) : kind_(Kind::status), status_(status) {}
  static constexpr Stop fault() { return Stop(Kind::fault); }
  static constexpr Stop wait() { return Stop(Kind::wait); }

  constexpr Kind kind() const { return kind_; }
  constexpr bool is_status() const { return kind_ == Kind::status; }
  constexpr bool is_fault() const { return kind_ == Kind::fault; }
  constexpr bool is_wait() const { return kind_ == Kind::wait; }
  Status status() const {
    CHECK(is_status());
    return status_;
  }
  friend constexpr bool operator==(Stop, Stop) = default;

 private:
  constexpr explicit Stop(Kind kind) : kind_(kind), status_(Status::ok) {}
  Kind kind_;
  Status status_;
};

// A value or a Stop. `return Status::no_entry;` and `return Stop::fault();` work directly; TRY passes a Stop
// on.
template <class T>
class [[nodiscard]] Outcome : public std::expected<T, Stop> {
 public:
  using std::expected<T, Stop>::expected;
  Outcome(Status status) : std::expected<T, Stop>(std::unexpected(Stop(status))) {}
  Outcome(Stop stop) : std::expected<T, Stop>(std::unexpected(stop)) {}
};

}  // namespace perdure
