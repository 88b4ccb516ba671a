// Random operations of several clients on a small tree of directories, files and links that they share,
// judged by linearizability against a model of the tree.
#include <map>

#include "sim/linearizable.h"
#include "sim/workload.h"

namespace perdure::sim {
namespace {

constexpr uint64_t part = 1024;  // sizes are whole blocks, or whole blocks and a part

enum class Kind : uint8_t {
  lookup,
  create,
  mkdir,
  remove,
  rename,
  link,
  getattr,
  write,
  read,
  truncate,
  list
};
constexpr const char* kind_names[] = {"lookup",  "create", "mkdir", "remove",   "rename", "link",
                                      "getattr", "write",  "read",  "truncate", "list"};

// What one block holds: two values, of its first part and of the rest.
struct Content {
  uint64_t first = 0, rest = 0;
  auto operator<=>(const Content&) const = default;
};

struct TreeOp {
  Kind kind{};
  uint64_t object = 0;  // file ids: the file, or the directory of `name`
  std::string name;
  uint64_t to = 0;  // rename: the target directory; link: the directory
  std::string to_name;
  uint64_t at = 0;         // block of a read or write; size
  bool only_part = false;  // write: the block's first part
  uint64_t value = 0;

  NfsStatus status{};
  uint64_t found = 0;  // lookup, create, mkdir
  uint64_t links = 0, size = 0;
  uint64_t length = 0;  // of what was read
  Content content;
  std::map<std::string, uint64_t> entries;

  bool changes() const {
    switch (kind) {
      case Kind::lookup:
      case Kind::getattr:
      case Kind::read:
      case Kind::list:
        return false;
      default:
        return status == NfsStatus::NFS4_OK;
    }
  }
  std::string words() const {
    return fmt::format(
        "{} {}/{} {}/{} at {}{} value {}: {}, found {}, links {}, size {}, {} bytes {} {}, {} entries",
        kind_names[static_cast<int>(kind)], object, name, to, to_name, at, only_part ? " part" : "", value,
        bench::status_name(status), found, links, size, length, content.first, content.rest, entries.size());
  }
};

struct Node {
  bool directory = false;
  uint64_t links = 0, size = 0, parent = 0;
  std::map<std::string, uint64_t> entries;
  std::map<uint64_t, Content> blocks;
  auto operator<=>(const Node&) const = default;
};

class TreeModel {
 public:
  explicit TreeModel(uint64_t root) { nodes_[root] = {.directory = true, .links = 2, .parent = root}; }
  auto operator<=>(const TreeModel&) const = default;

  bool apply(const TreeOp& op) {
    const NfsStatus status = execute(op);
    return status == op.status;
  }
  // Whether an object is there, and its name below a directory.
  const Node* find(uint64_t id) const {
    auto it = nodes_.find(id);
    return it == nodes_.end() ? nullptr : &it->second;
  }

 private:
  static constexpr NfsStatus ok = NfsStatus::NFS4_OK, wrong = NfsStatus::malformed;

  Node* node(uint64_t id) {
    auto it = nodes_.find(id);
    return it == nodes_.end() ? nullptr : &it->second;
  }
  NfsStatus directory_status(uint64_t id) {
    const Node* n = node(id);
    if (n == nullptr) return NfsStatus::NFS4ERR_STALE;
    return n->directory ? ok : NfsStatus::NFS4ERR_NOTDIR;
  }
  uint64_t entry(uint64_t directory, const std::string& name) {
    const auto& entries = node(directory)->entries;
    auto it = entries.find(name);
    return it == entries.end() ? 0 : it->second;
  }
  void enter(uint64_t directory, const std::string& name, uint64_t id) {
    node(directory)->entries[name] = id;
    if (!node(id)->directory) return;
    node(id)->parent = directory;
    ++node(directory)->links;
  }
  void leave(uint64_t directory, const std::string& name) {
    const uint64_t id = entry(directory, name);
    node(directory)->entries.erase(name);
    if (node(id)->directory) --node(directory)->links;
  }
  void unlink(uint64_t id) {
    Node& n = *node(id);
    if (n.directory || --n.links == 0) nodes_.erase(id);
  }

  NfsStatus execute(const TreeOp& op);
  NfsStatus rename(const TreeOp& op);
  NfsStatus link(const TreeOp& op);
  NfsStatus change_content(const TreeOp& op, Node& file);
  NfsStatus read(const TreeOp& op, const Node& file);

  std::map<uint64_t, Node> nodes_;
};

NfsStatus TreeModel::execute(const TreeOp& op) {
  switch (op.kind) {
    case Kind::lookup:
    case Kind::create:
    case Kind::mkdir:
    case Kind::remove:
    case Kind::list:
      if (const NfsStatus status = directory_status(op.object); status != ok) return status;
      break;
    case Kind::getattr:
    case Kind::write:
    case Kind::read:
    case Kind::truncate:
      if (node(op.object) == nullptr) return NfsStatus::NFS4ERR_STALE;
      break;
    case Kind::rename:
      return rename(op);
    case Kind::link:
      return link(op);
  }
  Node& object = *node(op.object);
  const uint64_t there = op.name.empty() ? 0 : entry(op.object, op.name);
  switch (op.kind) {
    case Kind::lookup:
      if (there == 0) return NfsStatus::NFS4ERR_NOENT;
      return there == op.found || op.status != ok ? ok : wrong;
    case Kind::create:
    case Kind::mkdir:
      if (there != 0) return NfsStatus::NFS4ERR_EXIST;
      if (op.found == 0 || nodes_.contains(op.found)) return wrong;
      nodes_[op.found] = {.directory = op.kind == Kind::mkdir, .links = op.kind == Kind::mkdir ? 2U : 1U};
      enter(op.object, op.name, op.found);
      return ok;
    case Kind::remove:
      if (there == 0) return NfsStatus::NFS4ERR_NOENT;
      if (!node(there)->entries.empty()) return NfsStatus::NFS4ERR_NOTEMPTY;
      leave(op.object, op.name);
      unlink(there);
      return ok;
    case Kind::list:
      return object.entries == op.entries || op.status != ok ? ok : wrong;
    case Kind::getattr:
      if (op.status != ok) return ok;
      if (op.links != object.links) return wrong;
      return object.directory || op.size == object.size ? ok : wrong;
    case Kind::write:
    case Kind::truncate:
      return change_content(op, object);
    case Kind::read:
      return op.status != ok ? ok : read(op, object);
    case Kind::rename:
    case Kind::link:
      break;
  }
  return wrong;
}

NfsStatus TreeModel::rename(const TreeOp& op) {
  if (const NfsStatus status = directory_status(op.object); status != ok) return status;
  if (const NfsStatus status = directory_status(op.to); status != ok) return status;
  const uint64_t moved = entry(op.object, op.name);
  const uint64_t target = entry(op.to, op.to_name);
  if (moved == 0) return NfsStatus::NFS4ERR_NOENT;
  if (moved == target) return ok;
  const bool directory = node(moved)->directory;
  if (directory && op.object != op.to) {
    for (uint64_t at = op.to;; at = node(at)->parent) {
      if (at == moved) return NfsStatus::NFS4ERR_INVAL;
      if (at == node(at)->parent) break;
    }
  }
  if (target != 0) {
    if (directory != node(target)->directory || !node(target)->entries.empty())
      return NfsStatus::NFS4ERR_EXIST;
    leave(op.to, op.to_name);
    unlink(target);
  }
  leave(op.object, op.name);
  enter(op.to, op.to_name, moved);
  return ok;
}

NfsStatus TreeModel::link(const TreeOp& op) {
  if (node(op.object) == nullptr) return NfsStatus::NFS4ERR_STALE;
  if (const NfsStatus status = directory_status(op.to); status != ok) return status;
  if (entry(op.to, op.to_name) != 0) return NfsStatus::NFS4ERR_EXIST;
  enter(op.to, op.to_name, op.object);
  ++node(op.object)->links;
  return ok;
}

NfsStatus TreeModel::change_content(const TreeOp& op, Node& file) {
  if (op.kind == Kind::write) {
    Content& content = file.blocks[op.at];
    content.first = op.value;
    if (!op.only_part) content.rest = op.value;
    file.size = std::max(file.size, op.at * block + (op.only_part ? part : block));
    return ok;
  }
  file.size = op.at;
  file.blocks.erase(file.blocks.lower_bound((op.at + block - 1) / block), file.blocks.end());
  if (op.at % block == part)
    if (auto it = file.blocks.find(op.at / block); it != file.blocks.end()) it->second.rest = 0;
  return ok;
}

NfsStatus TreeModel::read(const TreeOp& op, const Node& file) {
  const uint64_t begin = op.at * block;
  const uint64_t length = file.size <= begin ? 0 : std::min<uint64_t>(block, file.size - begin);
  if (op.length != length) return wrong;
  Content content;
  if (auto it = file.blocks.find(op.at); it != file.blocks.end()) content = it->second;
  if (length <= part) content.rest = 0;
  if (length == 0) content.first = 0;
  return content == op.content ? ok : wrong;
}

class TreeWorkload final : public Workload {
 public:
  explicit TreeWorkload(World& world) : Workload(world, "tree") {}

  Task<> setup() override {
    const uint64_t count = random().between(1, 4);
    clients_ = co_await start_clients(count, 1, 3);
    if (world_.failed()) co_return;
    Slot& slot = clients_[0]->slot(0);
    const std::string name = "tree";
    const FileHandle root = co_await make_directory(slot, clients_[0]->root(), name);
    slot.begin().putfh(root).getattr(attr::FILEID);
    Reply& reply = co_await slot.ask();
    Attributes attributes;
    if (!(reply.putfh() && reply.getattr(attributes))) co_return fail("no root");
    root_ = attributes.fileid;
    learn(root_, root, true);
  }

  void start() override {
    operations_ = random().between(20, 150);
    for (Client* client : clients_)
      for (size_t i = 0; i < client->slots(); ++i) spawn(work(client->slot(i)));
  }

  Task<> check() override {
    co_await read_all(clients_[0]->slot(0));
    if (world_.failed()) co_return;
    const std::string wrong = check_linearizable(TreeModel(root_), history_);
    if (!wrong.empty()) {
      for (const Timed<TreeOp>& t : history_) world_.trace("{} to {}: {}", t.asked, t.answered, t.op.words());
      fail("{}", wrong);
    }
  }

 private:
  struct Object {
    FileHandle handle;
    bool directory = false;
  };
  void learn(uint64_t id, const FileHandle& handle, bool directory) {
    if (objects_.emplace(id, Object{handle, directory}).second)
      (directory ? directories_ : files_).push_back(id);
  }
  uint64_t some(const std::vector<uint64_t>& of) {
    // The newest are the most interesting.
    if (random().one_in(3)) return of[random().below(of.size())];
    return of[of.size() - 1 - random().below(std::min<uint64_t>(of.size(), 4))];
  }
  std::string some_name() { return std::string(1, static_cast<char>('a' + random().below(6))); }

  Task<> work(Slot& slot) {
    while (operations_ > 0 && !world_.failed()) {
      --operations_;
      TreeOp op = draw();
      co_await perform(slot, std::move(op));
      if (random().one_in(8))
        co_await slot.client().sleep(random().exponential(std::chrono::milliseconds(50)));
    }
  }

  TreeOp draw();
  void build(Slot& slot, const TreeOp& op);
  bool understand(Reply& reply, TreeOp& op);
  Task<> perform(Slot& slot, TreeOp asked) {
    TreeOp op = std::move(asked);
    build(slot, op);
    Reply& reply = co_await slot.ask();
    op.status = NfsStatus::NFS4_OK;
    if (!understand(reply, op)) op.status = reply.error();
    world_.trace("{} {}", slot.client().name(), op.words());
    history_.push_back({slot.asked_at(), slot.answered_at(), std::move(op)});
  }
  // Everything that is there, as further operations of the history.
  Task<> read_all(Slot& slot) {
    std::vector<TreeOp> ops;
    for (const uint64_t directory : directories_) ops.push_back({.kind = Kind::list, .object = directory});
    for (const uint64_t file : files_) {
      ops.push_back({.kind = Kind::getattr, .object = file});
      for (uint64_t at = 0; at < 4; ++at) ops.push_back({.kind = Kind::read, .object = file, .at = at});
    }
    for (TreeOp& op : ops) co_await perform(slot, std::move(op));
  }

  std::vector<Client*> clients_;
  uint64_t root_ = 0, operations_ = 0, values_ = 0;
  std::map<uint64_t, Object> objects_;
  std::vector<uint64_t> directories_, files_;
  std::vector<Timed<TreeOp>> history_;
};

TreeOp TreeWorkload::draw() {
  TreeOp op;
  constexpr Kind kinds[] = {Kind::lookup, Kind::create, Kind::create,   Kind::mkdir, Kind::remove,
                            Kind::remove, Kind::rename, Kind::rename,   Kind::link,  Kind::getattr,
                            Kind::write,  Kind::write,  Kind::truncate, Kind::read,  Kind::list};
  op.kind = kinds[random().below(std::size(kinds))];
  const bool of_file =
      op.kind == Kind::write || op.kind == Kind::truncate || op.kind == Kind::read || op.kind == Kind::link;
  if (of_file && files_.empty()) op.kind = Kind::create;
  const bool file = of_file && op.kind != Kind::create;
  op.object = some(file ? files_ : directories_);
  op.to = some(directories_);
  op.at = random().below(4);
  switch (op.kind) {
    case Kind::lookup:
    case Kind::create:
    case Kind::mkdir:
    case Kind::remove:
      op.name = some_name();
      break;
    case Kind::rename:
      op.name = some_name();
      op.to_name = some_name();
      if (random().one_in(2)) op.to = op.object;
      break;
    case Kind::link:
      op.to_name = some_name();
      break;
    case Kind::getattr:
      if (!files_.empty() && random().one_in(2)) op.object = some(files_);
      break;
    case Kind::truncate:
      op.at = op.at * block + (random().one_in(2) ? part : 0);
      break;
    case Kind::write:
      op.value = ++values_;
      op.only_part = random().one_in(2);
      break;
    case Kind::read:
    case Kind::list:
      break;
  }
  return op;
}

void TreeWorkload::build(Slot& slot, const TreeOp& op) {
  constexpr Stateid current{.seqid = 1, .other = {}};  // RFC 8881 §16.2.3.1.2
  const FileHandle& object = objects_.at(op.object).handle;
  Call& call = slot.begin();
  switch (op.kind) {
    case Kind::lookup:
      call.putfh(object).lookup(op.name).getfh().getattr(attr::FILEID | attr::TYPE);
      break;
    case Kind::create:
      call.putfh(object)
          .open_create({slot.client().id(), "owner"}, op.name, bench::CreateMode::GUARDED4, 0666, 0)
          .getfh()
          .getattr(attr::FILEID | attr::TYPE)
          .close(current);
      break;
    case Kind::mkdir:
      call.putfh(object).mkdir(op.name, 0777).getfh().getattr(attr::FILEID | attr::TYPE);
      break;
    case Kind::remove:
      call.putfh(object).remove(op.name);
      break;
    case Kind::rename:
      call.putfh(object).savefh().putfh(objects_.at(op.to).handle).rename(op.name, op.to_name);
      break;
    case Kind::link:
      call.putfh(object).savefh().putfh(objects_.at(op.to).handle).link(op.to_name);
      break;
    case Kind::getattr:
      call.putfh(object).getattr(attr::NUMLINKS | attr::SIZE);
      break;
    case Kind::write: {
      call.putfh(object);
      const MutableBytes data =
          call.write({}, op.at * block, bench::StableHow::FILE_SYNC4, op.only_part ? part : block);
      for (size_t i = 0; i < data.size(); i += 8) std::memcpy(data.data() + i, &op.value, 8);
      break;
    }
    case Kind::read:
      call.putfh(object).read({}, op.at * block, block);
      break;
    case Kind::truncate:
      call.putfh(object).set_size({}, op.at);
      break;
    case Kind::list:
      call.putfh(object).readdir(0, {}, 32768, attr::FILEID);
      break;
  }
}

bool TreeWorkload::understand(Reply& reply, TreeOp& op) {
  bench::ChangeInfo change, other;
  Stateid stateid;
  FileHandle handle;
  Attributes attributes;
  const auto found = [&] {
    if (!(reply.getfh(handle) && reply.getattr(attributes))) return false;
    op.found = attributes.fileid;
    learn(op.found, handle, attributes.type == bench::FileType::NF4DIR);
    return true;
  };
  if (!reply.putfh()) return false;
  switch (op.kind) {
    case Kind::lookup:
      return reply.plain(Op::LOOKUP) && found();
    case Kind::create:
      return reply.open(stateid, change) && found() && reply.close();
    case Kind::mkdir:
      return reply.create(change) && found();
    case Kind::remove:
      return reply.remove(change);
    case Kind::rename:
      return reply.plain(Op::SAVEFH) && reply.putfh() && reply.rename(change, other);
    case Kind::link:
      return reply.plain(Op::SAVEFH) && reply.putfh() && reply.link(change);
    case Kind::getattr:
      if (!reply.getattr(attributes)) return false;
      op.links = attributes.numlinks;
      op.size = attributes.size;
      return true;
    case Kind::write: {
      uint32_t count = 0;
      bench::StableHow stable{};
      Verifier verifier;
      if (!reply.write(count, stable, verifier)) return false;
      if (count != (op.only_part ? part : block) || stable != bench::StableHow::FILE_SYNC4)
        fail("a stable write of {} bytes, level {}", count, static_cast<int>(stable));
      return true;
    }
    case Kind::read: {
      Bytes data;
      bool eof = false;
      if (!reply.read(data, eof)) return false;
      op.length = data.size();
      if (data.size() >= 8) std::memcpy(&op.content.first, data.data(), 8);
      if (data.size() == block) std::memcpy(&op.content.rest, data.data() + part, 8);
      for (size_t i = 0; i + 8 <= data.size(); i += 8)
        if (std::memcmp(data.data() + i, i < part ? &op.content.first : &op.content.rest, 8) != 0)
          fail("a torn block: {}", op.words());
      return true;
    }
    case Kind::truncate:
      return reply.setattr();
    case Kind::list: {
      Verifier verifier;
      if (!reply.readdir(verifier)) return false;
      Reply::Entry entry;
      bool eof = false;
      while (reply.next_entry(entry, eof)) op.entries.emplace(entry.name, entry.attributes.fileid);
      if (!reply.failed() && !eof) fail("a small directory is not read at once");
      return !reply.failed();
    }
  }
  return false;
}

}  // namespace

std::unique_ptr<Workload> make_tree(World& world) {
  return std::make_unique<TreeWorkload>(world);
}

}  // namespace perdure::sim
