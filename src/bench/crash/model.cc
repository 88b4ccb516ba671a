#include "bench/crash/model.h"

#include <algorithm>

#include "base/check.h"

namespace perdure::bench {
namespace {

bool is_below(const std::string& path, const std::string& directory) {
  return directory.empty() ? !path.empty() : path.starts_with(directory + "/");
}

}  // namespace

std::string parent_of(const std::string& path) {
  const size_t slash = path.rfind('/');
  return slash == std::string::npos ? "" : path.substr(0, slash);
}

std::string_view name_of(const std::string& path) {
  return std::string_view(path).substr(path.rfind('/') + 1);  // npos + 1 is 0
}

Model::Model() {
  nodes_[""] = std::make_shared<Node>();
  nodes_[""]->type = FileType::NF4DIR;
}

Model Model::copy() const {
  Model other;
  std::map<const Node*, NodeRef> copies;
  for (const auto& [path, node] : nodes_) {
    NodeRef& twin = copies[node.get()];
    if (twin == nullptr) twin = std::make_shared<Node>(*node);
    other.nodes_[path] = twin;
  }
  other.increments_ = increments_;
  return other;
}

NodeRef Model::find(const std::string& path) const {
  const auto it = nodes_.find(path);
  return it == nodes_.end() ? nullptr : it->second;
}

bool Model::has_children(const std::string& directory) const {
  const auto it = nodes_.upper_bound(directory.empty() ? "" : directory + "/");
  return it != nodes_.end() && is_below(it->first, directory);
}

std::vector<std::string> Model::paths(FileType type) const {
  std::vector<std::string> all;
  for (const auto& [path, node] : nodes_) {
    if (node->type == type && !path.empty()) all.push_back(path);
  }
  return all;
}

bool Model::possible(const Action& a) const {
  using Kind = Action::Kind;
  if (a.kind == Kind::increment) return true;
  const NodeRef node = find(a.path);
  const auto is_free = [&](const std::string& path) {
    const NodeRef parent = find(parent_of(path));
    return !path.empty() && find(path) == nullptr && parent != nullptr && parent->type == FileType::NF4DIR;
  };
  const bool is_file = node != nullptr && node->type == FileType::NF4REG;
  switch (a.kind) {
    case Kind::create:
    case Kind::mkdir:
    case Kind::symlink:
      return is_free(a.path);
    case Kind::link:
      return is_file && is_free(a.other_path);
    case Kind::rename: {
      if (node == nullptr || a.path.empty() || a.path == a.other_path || is_below(a.other_path, a.path))
        return false;
      const NodeRef target = find(a.other_path);
      if (target == nullptr) return is_free(a.other_path);
      // Over another: only a name of a file over a file, and not two names of one, which would be no change
      // at all.
      return node->type == target->type && node->type != FileType::NF4DIR && node != target;
    }
    case Kind::remove:
      return node != nullptr && node->type != FileType::NF4DIR;
    case Kind::rmdir:
      return node != nullptr && node->type == FileType::NF4DIR && !a.path.empty() && !has_children(a.path);
    case Kind::write:
    case Kind::truncate:
      return is_file;
    case Kind::increment:
      break;
  }
  return true;
}

void Model::apply(const Action& a) {
  using Kind = Action::Kind;
  CHECK(possible(a));
  switch (a.kind) {
    case Kind::create:
    case Kind::mkdir:
    case Kind::symlink: {
      const NodeRef node = nodes_[a.path] = std::make_shared<Node>();
      node->type = a.kind == Kind::create  ? FileType::NF4REG
                   : a.kind == Kind::mkdir ? FileType::NF4DIR
                                           : FileType::NF4LNK;
      node->id = a.first;
      node->links = 1;
      node->target = a.other_path;
      break;
    }
    case Kind::link: {
      const NodeRef node = find(a.path);
      ++node->links;
      nodes_[a.other_path] = node;
      break;
    }
    case Kind::rename:
      rename(a.path, a.other_path);
      break;
    case Kind::remove:
    case Kind::rmdir:
      drop_name(a.path);
      break;
    case Kind::write: {
      std::vector<uint64_t>& versions = find(a.path)->versions;
      versions.resize(std::max<size_t>(versions.size(), a.first + a.count));
      std::fill_n(versions.begin() + static_cast<ptrdiff_t>(a.first), a.count, a.version);
      break;
    }
    case Kind::truncate:
      find(a.path)->versions.resize(a.first);
      break;
    case Kind::increment:
      ++increments_[a.first];
      break;
  }
}

void Model::rename(const std::string& from, const std::string& to) {
  if (find(to) != nullptr) drop_name(to);
  std::vector<std::string> moved;
  for (const auto& [path, node] : nodes_) {
    if (path == from || is_below(path, from)) moved.push_back(path);
  }
  for (const std::string& path : moved) {
    auto entry = nodes_.extract(path);
    entry.key() = to + path.substr(from.size());
    nodes_.insert(std::move(entry));
  }
}

void Model::drop_name(const std::string& path) {
  --find(path)->links;
  nodes_.erase(path);
}

}  // namespace perdure::bench
