// Random operations against a model of the tree that knows nothing of rows, hashes, faults and checkpoints.
#include <algorithm>
#include <memory>
#include <random>

#include "fs/attributes.h"
#include "fs/testing/names_test_base.h"

namespace perdure::fs {
namespace {

using testing::FixtureOptions;
using testing::FsFixture;
using ::testing::IsEmpty;
using testing::Names;

// An object of the model. `id` is what the file system calls it.
struct Node {
  InodeId id;
  FileType type{};
  uint32_t mode = 0, links = 0;
  uint64_t size = 0;
  std::string target;
  bool open = false;
  Node* parent = nullptr;
  std::map<std::string, Node*> entries;

  bool is_directory() const { return type == FileType::directory; }
  bool is_below(const Node* other) const {
    for (const Node* at = this;; at = at->parent) {
      if (at == other) return true;
      if (at->parent == at) return false;
    }
  }
};

class ModelTest : public ::testing::TestWithParam<uint64_t> {
 protected:
  ModelTest() : random_(GetParam()), fx_(options()), names_(fx_) {
    root_ = make(FileType::directory, 0755);
    root_->id = fx_.root();
    root_->parent = root_;
    root_->links = 2;
  }
  static FixtureOptions options() {
    FixtureOptions options;
    options.seed = GetParam();
    options.needs_io_percent = GetParam() % 3 == 0 ? 100 : 30;
    options.name_hash_bits = GetParam() % 2 == 0 ? 3 : 55;
    return options;
  }

  size_t below(size_t n) { return random_() % n; }
  Node* make(FileType type, uint32_t mode) {
    nodes_.push_back(std::make_unique<Node>());
    Node* node = nodes_.back().get();
    node->type = type;
    node->mode = mode;
    return node;
  }
  // Some directory, or (rarely) anything else, or something that is gone.
  Node* some(bool directory) {
    Node* node = nodes_[below(nodes_.size())].get();
    const bool exact = below(12) != 0;
    for (int tries = 0; exact && tries < 100; ++tries) {
      if (node->is_directory() == directory && alive(*node)) break;
      node = nodes_[below(nodes_.size())].get();
    }
    return node;
  }
  static bool alive(const Node& node) { return node.links > 0 || node.open; }
  std::string some_name() { return std::string(1, static_cast<char>('a' + below(14))); }
  Status directory_status(const Node& node) const {
    if (!alive(node)) return Status::stale;
    return node.is_directory() ? Status::ok : Status::not_directory;
  }
  static Node* at(const Node& directory, const std::string& name) {
    auto it = directory.entries.find(name);
    return it == directory.entries.end() ? nullptr : it->second;
  }
  static void insert(Node& directory, const std::string& name, Node& node) {
    directory.entries[name] = &node;
    if (node.is_directory()) {
      node.parent = &directory;
      ++directory.links;
    }
  }
  static void erase(Node& directory, const std::string& name) {
    if (directory.entries.at(name)->is_directory()) --directory.links;
    directory.entries.erase(name);
  }
  static void unlink(Node& node) { node.links = node.is_directory() ? 0 : node.links - 1; }

  void create();
  void link();
  void remove();
  void rename();
  void set();
  void look();
  void open_or_close();
  void compare();

  std::mt19937_64 random_;
  FsFixture fx_;
  Names names_;
  std::vector<std::unique_ptr<Node>> nodes_;
  Node* root_;
};

void ModelTest::create() {
  Node& directory = *some(true);
  const std::string name = some_name();
  CreateRequest request;
  request.type = static_cast<FileType>(1 + below(7));
  if (below(3) == 0) request.type = FileType::directory;
  request.mode = static_cast<CreateMode>(below(3));
  request.verifier = below(3);
  request.attributes.mode = static_cast<uint32_t>(below(01000));
  const std::string target = name + " target";
  request.target = target;
  const auto created = names_.create(directory.id, name, request);

  Status expected = directory_status(directory);
  Node* existing = at(directory, name);
  if (expected == Status::ok && existing != nullptr && request.mode == CreateMode::guarded)
    expected = Status::exists;
  if (expected == Status::ok && existing != nullptr && request.mode == CreateMode::exclusive) {
    // Its own earlier file or somebody else's: what the model does not follow.
    ASSERT_TRUE(created || created.error().status() == Status::exists);
    if (created) {
      EXPECT_EQ(created->inode, existing->id);
      EXPECT_EQ(existing->type, FileType::regular);
    }
    return;
  }
  ASSERT_EQ(testing::status_of(created), expected);
  if (expected != Status::ok) return;
  EXPECT_EQ(created->created, existing == nullptr);
  if (existing != nullptr) {
    EXPECT_EQ(created->inode, existing->id);
    return;
  }
  const bool symlink = request.type == FileType::symlink;
  Node* node = make(request.type, symlink ? 0777 : *request.attributes.mode);
  node->id = created->inode;
  node->links = node->is_directory() ? 2 : 1;
  if (symlink) node->target = target;
  node->size = node->target.size();
  if (node->is_directory()) node->mode |= directory.mode & mode_set_gid;
  insert(directory, name, *node);
}

void ModelTest::link() {
  Node &node = *some(false), &directory = *some(true);
  const std::string name = some_name();
  Status expected = directory_status(directory);
  if (expected == Status::ok && !alive(node)) expected = Status::stale;
  if (expected == Status::ok && node.is_directory()) expected = Status::is_directory;
  if (expected == Status::ok && at(directory, name) != nullptr) expected = Status::exists;
  if (expected == Status::ok && node.links == 0) expected = Status::no_entry;
  ASSERT_EQ(names_.link(node.id, directory.id, name), expected);
  if (expected != Status::ok) return;
  ++node.links;
  insert(directory, name, node);
}

void ModelTest::remove() {
  Node& directory = *some(true);
  const std::string name = some_name();
  Status expected = directory_status(directory);
  Node* node = at(directory, name);
  if (expected == Status::ok && node == nullptr) expected = Status::no_entry;
  if (expected == Status::ok && !node->entries.empty()) expected = Status::not_empty;
  ASSERT_EQ(names_.remove(directory.id, name), expected);
  if (expected != Status::ok) return;
  erase(directory, name);
  unlink(*node);
}

void ModelTest::rename() {
  Node &from = *some(true), &to = below(3) == 0 ? from : *some(true);
  const std::string from_name = some_name(), to_name = some_name();
  Status expected = directory_status(from);
  if (expected == Status::ok) expected = directory_status(to);
  Node *node = at(from, from_name), *target = at(to, to_name);
  if (expected == Status::ok && node == nullptr) expected = Status::no_entry;
  const bool same = expected == Status::ok && node == target;
  if (expected == Status::ok && !same) {
    if (node->is_directory() && to.is_below(node))
      expected = Status::invalid_argument;
    else if (target != nullptr && node->is_directory() != target->is_directory())
      expected = Status::exists;
    else if (target != nullptr && !target->entries.empty())
      expected = Status::exists;
  }
  const auto renamed = names_.rename_outcome(from.id, from_name, to.id, to_name);
  ASSERT_EQ(testing::status_of(renamed), expected);
  if (expected != Status::ok) return;
  EXPECT_EQ(renamed->inode, node->id);
  EXPECT_EQ(renamed->replaced, same || target == nullptr ? InodeId(0) : target->id);
  EXPECT_EQ(renamed->from.before == renamed->from.after, same);
  if (same) return;
  if (target != nullptr) {
    erase(to, to_name);
    unlink(*target);
  }
  erase(from, from_name);
  insert(to, to_name, *node);
}

void ModelTest::set() {
  Node& node = *some(below(2) == 0);
  const auto mode = static_cast<uint32_t>(below(010000));
  const uint64_t size = below(100000);
  const bool with_size = below(2) == 0;
  SetAttributes set{.mode = mode};
  if (with_size) set.size = size;
  Status expected = Status::ok;
  if (!alive(node))
    expected = Status::stale;
  else if (with_size && node.type != FileType::regular)
    expected = Status::invalid_argument;
  ASSERT_EQ(names_.set(node.id, set), expected);
  if (expected != Status::ok) return;
  if (node.type != FileType::symlink) node.mode = mode;
  if (with_size) node.size = size;
}

void ModelTest::look() {
  Node& directory = *some(true);
  const std::string name = some_name();
  if (directory_status(directory) != Status::ok) return;
  Node* node = at(directory, name);
  EXPECT_EQ(names_.find(directory.id, name), node == nullptr ? InodeId(0) : node->id);
  std::vector<std::string> expected, listed = names_.list(directory.id, 1 + below(5));
  for (const auto& [entry, object] : directory.entries) expected.push_back(entry);
  std::sort(listed.begin(), listed.end());
  EXPECT_EQ(listed, expected);
}

void ModelTest::open_or_close() {
  Node& node = *some(false);
  if (node.type != FileType::regular || !alive(node)) return;
  node.open = !node.open;
  if (node.open) {
    fx_.open.insert(node.id);
  } else {
    fx_.open.erase(node.id);
    EXPECT_EQ(names_.release(node.id), Status::ok);
  }
}

void ModelTest::compare() {
  ASSERT_THAT(testing::check_names(fx_), IsEmpty());
  ASSERT_THAT(testing::check_all(fx_), IsEmpty());
  for (const auto& node : nodes_) {
    ASSERT_EQ(names_.exists(node->id), alive(*node));
    if (!alive(*node)) continue;
    const InodeRow row = names_.row(node->id);
    EXPECT_EQ(row.type, node->type);
    EXPECT_EQ(row.mode, node->mode);
    EXPECT_EQ(row.links, node->links);
    EXPECT_EQ(row.size, node->is_directory() ? node->entries.size() : node->size);
    if (node->type == FileType::symlink) {
      EXPECT_EQ(names_.target(node->id), node->target);
    }
    for (const auto& [name, entry] : node->entries) EXPECT_EQ(names_.find(node->id, name), entry->id);
  }
  // What is gone is no longer interesting, but for some of it.
  std::erase_if(nodes_, [&](const auto& node) { return !alive(*node) && below(4) != 0; });
}

TEST_P(ModelTest, random_operations) {
  for (int i = 1; i <= 5000 && !HasFatalFailure(); ++i) {
    SCOPED_TRACE(fmt::format("operation {}", i));
    switch (below(12)) {
      case 0:
      case 1:
      case 2:
        create();
        break;
      case 3:
        link();
        break;
      case 4:
      case 5:
        remove();
        break;
      case 6:
      case 7:
      case 8:
        rename();
        break;
      case 9:
        set();
        break;
      case 10:
        look();
        break;
      case 11:
        open_or_close();
        break;
    }
    if (below(100) == 0) fx_.checkpoint();
    if (below(30) == 0) fx_.evict();
    if (i % 500 == 0) {
      compare();
      fx_.checkpoint();
      fx_.restart();
      compare();
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Seeds, ModelTest, ::testing::Range(uint64_t{1}, uint64_t{7}));

}  // namespace
}  // namespace perdure::fs
