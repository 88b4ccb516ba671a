#include "fs/testing/file_model.h"

#include <fmt/format.h>

#include <algorithm>

namespace perdure::fs::testing {

namespace {

const ByteVector zeros(4096);

// Drops all but the newest version that is not newer than `sequence`, and those behind it.
template <class Versions>
void forget_before(Versions& versions, uint64_t sequence) {
  auto it = versions.end();
  while (it != versions.begin() && std::prev(it)->first > sequence) --it;
  if (it != versions.begin()) versions.erase(versions.begin(), std::prev(it));
}

}  // namespace

// A new version, at first like the last one.
auto FileModel::change(uint64_t number, uint64_t sequence) -> Content& {
  Versions& versions = blocks_[number];
  if (versions.empty()) versions.emplace_back(0, Content());
  versions.emplace_back(sequence, versions.back().second);
  return versions.back().second;
}

void FileModel::write(uint64_t sequence, uint64_t offset, Bytes bytes) {
  while (!bytes.empty()) {
    const uint64_t begin = offset % block;
    const uint64_t n = std::min<uint64_t>(block - begin, bytes.size());
    Content& content = change(offset / block, sequence);
    content.resize(block);
    std::copy(bytes.begin(), bytes.begin() + static_cast<ptrdiff_t>(n),
              content.begin() + static_cast<ptrdiff_t>(begin));
    bytes = bytes.subspan(n);
    offset += n;
  }
  sizes_.emplace_back(sequence, std::max(size(), offset));
}

void FileModel::truncate(uint64_t sequence, uint64_t new_size) {
  if (new_size < size()) {
    for (auto it = blocks_.lower_bound(new_size / block); it != blocks_.end(); ++it) {
      Content& content = change(it->first, sequence);
      const uint64_t begin = it->first * block;
      if (new_size <= begin)
        content.clear();
      else if (!content.empty())
        std::fill(content.begin() + static_cast<ptrdiff_t>(new_size - begin), content.end(), std::byte{0});
    }
  }
  sizes_.emplace_back(sequence, new_size);
}

void FileModel::stable(uint64_t sequence) {
  for (auto& [number, versions] : blocks_)
    if (std::any_of(versions.begin(), versions.end(), [&](const auto& v) { return v.first == sequence; }))
      forget_before(versions, sequence);
  forget_before(sizes_, sequence);
}

void FileModel::all_stable(uint64_t sequence) {
  for (auto& [number, versions] : blocks_) forget_before(versions, sequence);
  forget_before(sizes_, sequence);
}

ByteVector FileModel::read(uint64_t offset, uint64_t count) const {
  if (offset >= size()) return {};
  count = std::min(count, size() - offset);
  ByteVector result(count);
  for (auto it = blocks_.lower_bound(offset / block);
       it != blocks_.end() && it->first * block < offset + count; ++it) {
    const Content& content = it->second.back().second;
    if (content.empty()) continue;
    const uint64_t begin = std::max(offset, it->first * block);
    const uint64_t end = std::min(offset + count, (it->first + 1) * block);
    std::memcpy(result.data() + (begin - offset), content.data() + begin % block, end - begin);
  }
  return result;
}

bool FileModel::size_possible(uint64_t size) const {
  return std::any_of(sizes_.begin(), sizes_.end(), [&](const auto& v) { return v.second == size; });
}

std::string FileModel::judge(uint64_t offset, Bytes bytes) const {
  for (; !bytes.empty(); offset += block) {
    const Bytes part = bytes.first(std::min<size_t>(block, bytes.size()));
    bytes = bytes.subspan(part.size());
    const auto like = [&part](const Content& content) {
      return std::equal(part.begin(), part.end(), (content.empty() ? zeros : content).begin());
    };
    auto it = blocks_.find(offset / block);
    const bool good = it == blocks_.end() ? like({})
                                          : std::any_of(it->second.begin(), it->second.end(),
                                                        [&](const auto& v) { return like(v.second); });
    if (!good)
      return fmt::format("block {} has none of its {} possible contents", offset / block,
                         it == blocks_.end() ? 1 : it->second.size());
  }
  return {};
}

void FileModel::adopt(uint64_t size, const std::map<uint64_t, ByteVector>& blocks) {
  blocks_.clear();
  sizes_ = {{0, size}};
  for (const auto& [number, content] : blocks) {
    Content full = content;
    full.resize(block);
    blocks_[number] = {{0, std::move(full)}};
  }
}

std::vector<uint64_t> FileModel::blocks() const {
  std::vector<uint64_t> numbers;
  for (const auto& [number, versions] : blocks_) numbers.push_back(number);
  return numbers;
}

}  // namespace perdure::fs::testing
