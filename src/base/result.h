// Failures of the environment: an I/O error, a checksum, a peer that is gone. An operation's outcome (no
// entry, not empty) is a Status instead (base/outcome.h), and a bug is a CHECK (base/check.h). No exceptions.
#pragma once

#include <fmt/format.h>

#include <expected>
#include <string>
#include <utility>

namespace perdure {

// What a caller could react to. A kind exists only if some caller treats it differently from the others.
enum class ErrorKind : uint8_t {
  io,           // the device or the operating system reports a failure
  corrupt,      // bytes are not what was written, or not in a known format
  no_space,     // the device or file system beneath is full
  not_found,    // a file or directory of ours does not exist
  busy,         // somebody else holds the lock
  invalid,      // a configuration or an argument cannot be used
  unsupported,  // known, but not available here
  stopped,      // the component was stopped or poisoned by an earlier failure
};

struct Error {
  ErrorKind kind = ErrorKind::io;
  std::string message;  // one line for a person, naming the object and, where there is one, the errno text
};

// An Error of `kind` whose message is formatted as by fmt::format.
template <class... Args>
Error error(ErrorKind kind, fmt::format_string<Args...> format, Args&&... args) {
  return Error{kind, fmt::format(format, std::forward<Args>(args)...)};
}

// A value, or the reason why there is none. Unlike an alias of std::expected this class cannot be dropped
// silently.
template <class T>
class [[nodiscard]] Result : public std::expected<T, Error> {
 public:
  using std::expected<T, Error>::expected;
  Result(Error e) : std::expected<T, Error>(std::unexpected(std::move(e))) {}
};

}  // namespace perdure

// Evaluates `expression` (a Result or an Outcome); on failure returns its error from the enclosing function,
// otherwise is its value: `Lsn lsn = TRY(ring.open());`
#define TRY(expression) PERDURE_TRY(expression, PERDURE_JOIN(try_result_, __COUNTER__))
#define PERDURE_JOIN(a, b) PERDURE_JOIN_EXPANDED(a, b)
#define PERDURE_JOIN_EXPANDED(a, b) a##b
#define PERDURE_TRY(expression, result)                                       \
  ({                                                                          \
    auto&& result = (expression);                                             \
    if (!result) [[unlikely]]                                                 \
      return std::unexpected(std::forward<decltype(result)>(result).error()); \
    ::perdure::try_value(std::forward<decltype(result)>(result));             \
  })

namespace perdure {

template <class R>
auto try_value(R&& result) {
  if constexpr (std::is_void_v<typename std::remove_cvref_t<R>::value_type>)
    return;
  else
    return *std::forward<R>(result);
}

}  // namespace perdure
