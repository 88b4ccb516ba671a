// How rows and keys become bytes. A row type describes its fields once, in
//
//   template <class Self, class V> static void fields(Self& row, V&& v) { v("size", row.size); v("mode",
//   row.mode); ... }
//
// and this page derives from it the encoding (docs/formats/rows.md), the checked decoding, and the words that
// `perdure log` prints (a SipKey is a secret: never its value). A key does the same with its members in the
// order in which keys are compared; keys are encoded big-endian and without padding, so that byte order is
// key order.
#pragma once

#include <fmt/format.h>

#include <array>
#include <concepts>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/page.h"
#include "base/siphash.h"
#include "base/strong.h"

namespace perdure::state {

template <class T>
concept HasFields = requires(T& t) { T::fields(t, [](const char*, auto&) {}); };

namespace codec {

template <class T>
struct IsVector : std::false_type {};
template <class T>
struct IsVector<std::vector<T>> : std::true_type {};
template <class T>
struct IsArray : std::false_type {};
template <class T, size_t n>
struct IsArray<std::array<T, n>> : std::true_type {};

template <class T>
void encode_value(Encoder& e, const T& value) {
  if constexpr (std::is_same_v<T, bool>) {
    e.put(static_cast<uint8_t>(value));
  } else if constexpr (std::is_integral_v<T> || std::is_enum_v<T>) {
    e.put(value);
  } else if constexpr (IsStrong<T>) {
    e.put(value.value);
  } else if constexpr (std::is_same_v<T, std::string>) {
    e.put_string(bytes_of(value));
  } else if constexpr (std::is_same_v<T, ByteVector>) {
    e.put_string(value);
  } else if constexpr (std::is_same_v<T, PageRef>) {
    e.put_bytes(value.bytes());
  } else if constexpr (IsVector<T>::value) {
    e.put(static_cast<uint32_t>(value.size()));
    if constexpr (std::is_integral_v<typename T::value_type>)
      e.put_bytes(std::as_bytes(std::span(value)));
    else
      for (const auto& element : value) encode_value(e, element);
  } else if constexpr (IsArray<T>::value) {
    for (const auto& element : value) encode_value(e, element);
  } else {
    static_assert(HasFields<const T> || HasFields<T>, "a type without an encoding");
    T::fields(value, [&e](const char*, const auto& field) { encode_value(e, field); });
  }
}

template <class T>
void decode_value(Decoder& d, T& value) {
  if constexpr (std::is_same_v<T, bool>) {
    const auto byte = d.get<uint8_t>();
    if (byte > 1) d.fail();
    value = byte == 1;
  } else if constexpr (std::is_integral_v<T> || std::is_enum_v<T>) {
    value = d.get<T>();
  } else if constexpr (IsStrong<T>) {
    value.value = d.get<typename T::Representation>();
  } else if constexpr (std::is_same_v<T, std::string>) {
    value = text_of(d.get_string());
  } else if constexpr (std::is_same_v<T, ByteVector>) {
    const Bytes b = d.get_string();
    value.assign(b.begin(), b.end());
  } else if constexpr (std::is_same_v<T, PageRef>) {
    const Bytes b = d.get_bytes(block_bytes);
    value = make_page();
    if (!b.empty()) std::memcpy(value.mutable_bytes().data(), b.data(), block_bytes);
  } else if constexpr (IsVector<T>::value) {
    using Element = typename T::value_type;
    const auto n = d.get<uint32_t>();
    if constexpr (std::is_integral_v<Element>) {
      const Bytes b = d.get_bytes(size_t{n} * sizeof(Element));
      value.resize(b.size() / sizeof(Element));
      if (!b.empty()) std::memcpy(value.data(), b.data(), b.size());
    } else {
      if (n > d.remaining()) d.fail();  // each element takes at least one byte
      value.clear();
      for (uint32_t i = 0; i < n && d.ok(); ++i) decode_value(d, value.emplace_back());
    }
  } else if constexpr (IsArray<T>::value) {
    for (auto& element : value) decode_value(d, element);
  } else {
    T::fields(value, [&d](const char*, auto& field) { decode_value(d, field); });
  }
}

template <class T>
void describe_value(std::string& out, const T& value) {
  if constexpr (std::is_same_v<T, bool>) {
    out += value ? "yes" : "no";
  } else if constexpr (std::is_enum_v<T>) {
    out += fmt::format("{}", static_cast<int64_t>(value));
  } else if constexpr (std::is_integral_v<T> || IsStrong<T>) {
    out += fmt::format("{}", value);
  } else if constexpr (std::is_same_v<T, std::string>) {
    out += '"';
    for (const char c : value)
      out += c >= ' ' && c < 127 && c != '"' && c != '\\'
                 ? std::string(1, c)
                 : fmt::format("\\x{:02x}", static_cast<unsigned>(static_cast<unsigned char>(c)));
    out += '"';
  } else if constexpr (std::is_same_v<T, ByteVector>) {
    out += fmt::format("<{} bytes>", value.size());
  } else if constexpr (std::is_same_v<T, PageRef>) {
    out += "<page>";
  } else if constexpr (std::is_same_v<T, SipKey>) {
    out += "<secret>";
  } else if constexpr (IsVector<T>::value || IsArray<T>::value) {
    out += '[';
    size_t shown = 0;
    for (const auto& element : value) {
      if (shown != 0) out += ", ";
      if (++shown > 16) {
        out += fmt::format("... {} in all", value.size());
        break;
      }
      describe_value(out, element);
    }
    out += ']';
  } else {
    bool first = true;
    T::fields(value, [&](const char* name, const auto& field) {
      if (!std::exchange(first, false)) out += ' ';
      out += name;
      out += '=';
      describe_value(out, field);
    });
  }
}

template <class T>
void encode_key_value(Encoder& e, const T& value) {
  if constexpr (IsStrong<T>) {
    encode_key_value(e, value.value);
  } else if constexpr (std::unsigned_integral<T>) {
    if constexpr (sizeof(T) == 1)
      e.put(value);
    else
      e.put(std::byteswap(value));
  } else if constexpr (IsArray<T>::value) {
    for (const auto& element : value) encode_key_value(e, element);
  } else {
    T::fields(value, [&e](const char*, const auto& field) { encode_key_value(e, field); });
  }
}

template <class T>
void decode_key_value(Decoder& d, T& value) {
  if constexpr (IsStrong<T>) {
    decode_key_value(d, value.value);
  } else if constexpr (std::unsigned_integral<T>) {
    value = d.get<T>();
    if constexpr (sizeof(T) != 1) value = std::byteswap(value);
  } else if constexpr (IsArray<T>::value) {
    for (auto& element : value) decode_key_value(d, element);
  } else {
    T::fields(value, [&d](const char*, auto& field) { decode_key_value(d, field); });
  }
}

}  // namespace codec

template <class T>
void encode(Encoder& e, const T& value) {
  codec::encode_value(e, value);
}

// False if the bytes are not exactly one T.
template <class T>
[[nodiscard]] bool decode(Bytes bytes, T& value) {
  Decoder d(bytes);
  codec::decode_value(d, value);
  return d.finished();
}

template <class Key>
void encode_key(Encoder& e, const Key& key) {
  codec::encode_key_value(e, key);
}

template <class Key>
[[nodiscard]] bool decode_key(Bytes bytes, Key& key) {
  Decoder d(bytes);
  codec::decode_key_value(d, key);
  return d.finished();
}

// "name=value name=value", for people.
template <class T>
std::string describe(const T& value) {
  std::string out;
  codec::describe_value(out, value);
  return out;
}

}  // namespace perdure::state
