#include "bench/crash/compare.h"

#include <fmt/format.h>

#include <algorithm>

namespace perdure::bench {
namespace {

using Kind = Difference::Kind;

// A write whose outcome is not known: `file`'s blocks may be as in it or as in `after`.
struct OpenWrite {
  const Node* file = nullptr;
  const Node* after = nullptr;
};

void compare_blocks(const std::string& path, const Node& expected, const Node* after, const FoundNode& found,
                    std::vector<Difference>& differences) {
  const size_t blocks = expected.versions.size();
  const uint64_t size = blocks * test_block_bytes;
  const bool as_after = after != nullptr && found.size == after->versions.size() * test_block_bytes;
  if (found.size != size && !as_after) {
    differences.push_back({found.size < size ? Kind::lost : Kind::wrong,
                           fmt::format("{}: {} bytes instead of {}", path, found.size, size)});
    return;
  }
  for (size_t i = 0; i < found.blocks.size(); ++i) {
    const auto label = [&](const Node& node) {
      const uint64_t version = i < node.versions.size() ? node.versions[i] : 0;
      return version == 0 ? BlockLabel{} : BlockLabel{BlockLabel::Kind::whole, node.id, version, i};
    };
    const BlockLabel& is = found.blocks[i];
    const BlockLabel should = label(expected);
    if (is == should || (after != nullptr && is == label(*after))) continue;
    const bool older =
        is.kind == BlockLabel::Kind::zeros || (is.kind == BlockLabel::Kind::whole && is.file == should.file &&
                                               is.block == should.block && is.version < should.version);
    differences.push_back(
        {older ? Kind::lost : Kind::wrong,
         fmt::format("{}: block {} is {} instead of {}", path, i, to_text(is), to_text(should))});
  }
}

void compare_node(const std::string& path, const Node& expected, const Node* after, const FoundNode& found,
                  std::vector<Difference>& differences) {
  if (found.type != expected.type) {
    differences.push_back({Kind::wrong, fmt::format("{}: of another type", path)});
    return;
  }
  if (expected.type == FileType::NF4LNK && found.target != expected.target)
    differences.push_back(
        {Kind::wrong, fmt::format("{}: points to {} instead of {}", path, found.target, expected.target)});
  if (expected.type != FileType::NF4REG) return;
  if (found.links != expected.links)
    differences.push_back(
        {Kind::wrong, fmt::format("{}: {} links instead of {}", path, found.links, expected.links)});
  compare_blocks(path, expected, after, found, differences);
}

// Names of one file must show one file, names of two must show two.
void compare_identities(const Model& model, const FoundTree& found, std::vector<Difference>& differences) {
  std::map<const Node*, uint64_t> fileids;
  std::map<uint64_t, std::string> first_paths;
  for (const auto& [path, node] : model.nodes()) {
    const auto it = found.find(path);
    if (it == found.end()) continue;
    const uint64_t fileid = it->second.fileid;
    const auto [known, is_new] = fileids.emplace(node.get(), fileid);
    if (known->second != fileid)
      differences.push_back(
          {Kind::wrong, fmt::format("{}: no longer the same file as its other names", path)});
    const auto [first, unseen] = first_paths.emplace(fileid, path);
    if (is_new && !unseen)
      differences.push_back({Kind::wrong, fmt::format("{}: the same file as {}", path, first->second)});
  }
}

std::vector<Difference> compare_once(const Model& model, const OpenWrite& write, const FoundTree& found) {
  std::vector<Difference> differences;
  for (const auto& [path, node] : model.nodes()) {
    const auto it = found.find(path);
    if (it == found.end()) {
      differences.push_back({Kind::lost, fmt::format("{}: is not there", path)});
      continue;
    }
    compare_node(path, *node, node.get() == write.file ? write.after : nullptr, it->second, differences);
  }
  for (const auto& [path, node] : found) {
    if (model.find(path) == nullptr)
      differences.push_back({Kind::resurrected, fmt::format("{}: should not be there", path)});
  }
  compare_identities(model, found, differences);
  return differences;
}

}  // namespace

std::vector<Difference> compare(const Model& model, const std::optional<Action>& pending,
                                const FoundTree& found) {
  if (!pending || pending->kind == Action::Kind::increment) return compare_once(model, {}, found);
  Model after = model.copy();
  after.apply(*pending);
  if (pending->kind == Action::Kind::write)
    return compare_once(model, {model.find(pending->path).get(), after.find(pending->path).get()}, found);
  std::vector<Difference> before_differs = compare_once(model, {}, found);
  std::vector<Difference> after_differs = compare_once(after, {}, found);
  return after_differs.size() < before_differs.size() ? after_differs : before_differs;
}

std::optional<Difference> compare_counter(uint64_t counter, uint64_t acknowledged, uint64_t pending,
                                          uint64_t found) {
  if (found >= acknowledged && found <= acknowledged + pending) return std::nullopt;
  const Kind kind = found < acknowledged ? Kind::lost : Kind::wrong;
  return Difference{kind, fmt::format("counter {}: {} instead of {}", counter, found, acknowledged)};
}

}  // namespace perdure::bench
