// Strong integer types: an InodeId is not a ByteOffset, and the compiler knows it.
#pragma once

#include <fmt/format.h>

#include <compare>
#include <cstdint>

namespace perdure {

// An integer of type `Rep` that converts to and from nothing by itself. `Tag` makes the type unique.
// Arithmetic is limited to what positions and counts need: +, -, ++ with the same type.
template <class Tag, class Rep = uint64_t>
struct Strong {
  using Representation = Rep;
  Rep value = 0;

  constexpr Strong() = default;
  constexpr explicit Strong(Rep v) : value(v) {}

  friend constexpr auto operator<=>(Strong, Strong) = default;
  friend constexpr Strong operator+(Strong a, Strong b) {
    return Strong(static_cast<Rep>(a.value + b.value));
  }
  friend constexpr Strong operator-(Strong a, Strong b) {
    return Strong(static_cast<Rep>(a.value - b.value));
  }
  constexpr Strong& operator+=(Strong b) { return *this = *this + b; }
  constexpr Strong& operator-=(Strong b) { return *this = *this - b; }
  constexpr Strong& operator++() { return ++value, *this; }
  constexpr Strong next() const { return Strong(static_cast<Rep>(value + 1)); }

  template <class H>
  friend H AbslHashValue(H h, Strong s) {
    return H::combine(std::move(h), s.value);
  }
};

template <class T>
concept IsStrong = requires { typename T::Representation; } && requires(T t) { t.value; };

}  // namespace perdure

template <class T>
  requires perdure::IsStrong<T>
struct fmt::formatter<T> : fmt::formatter<typename T::Representation> {
  auto format(T v, format_context& context) const {
    return fmt::formatter<typename T::Representation>::format(v.value, context);
  }
};
