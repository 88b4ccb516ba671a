// Extended attributes of some files and directories, which several slots of several clients set, read, list
// and remove at once: few names, so that they meet; values of nothing to 64 KiB. Beside it files with
// attributes come, are removed while they are open or not, and go.
//
// Judged: the answers of each object are linearizable against a map (linearizable.h), with the change
// attribute, whose values before and after each change must follow each other; a listing in pieces gives
// each name at most once, and those that are there all the time exactly once; in the end everything is as the
// last answers say, and what is left of removed files finds the checker.
#include <set>

#include "sim/linearizable.h"
#include "sim/workload.h"

namespace perdure::sim {
namespace {

using bench::XattrHow;

// A value's length and bytes follow from its number, which is in its first eight bytes. 0: the empty one.
using ValueId = uint64_t;
enum class ValueSize : uint8_t { small, middle, largest };
constexpr size_t value_bytes_max = 65536;

ByteVector content_of(ValueId id) {
  if (id == 0) return {};
  size_t length = 8 + id % 100;
  if (id % 4 == static_cast<uint8_t>(ValueSize::middle)) length = 5000 + id % 3000;
  if (id % 4 == static_cast<uint8_t>(ValueSize::largest)) length = value_bytes_max;
  ByteVector bytes(length);
  for (size_t i = 0; i < length; ++i) bytes[i] = static_cast<std::byte>((id >> (i % 8 * 8)) + i / 8);
  return bytes;
}
// Nothing if it is no value that anybody sets.
std::optional<ValueId> value_of(Bytes content) {
  ValueId id = 0;
  if (content.empty()) return id;
  if (content.size() < sizeof id) return std::nullopt;
  std::memcpy(&id, content.data(), sizeof id);
  if (!std::ranges::equal(content_of(id), content)) return std::nullopt;
  return id;
}

struct XattrOp {
  enum class Kind : uint8_t { set, get, remove, list } kind{};
  std::string name = {};
  XattrHow how = XattrHow::EITHER;
  ValueId value = 0;  // set; or that was read
  std::set<std::string> names = {};
  NfsStatus status{};
  bench::ChangeInfo change = {};

  bool changes() const { return (kind == Kind::set || kind == Kind::remove) && status == NfsStatus::NFS4_OK; }
  std::string words() const {
    static constexpr const char* kinds[] = {"SETXATTR", "GETXATTR", "REMOVEXATTR", "LISTXATTRS"};
    return fmt::format("{} {} how {} value {:x}, {} names: {}, change {:x} to {:x}",
                       kinds[static_cast<size_t>(kind)], name, std::to_underlying(how), value, names.size(),
                       bench::status_name(status), change.before, change.after);
  }
};

struct XattrModel {
  std::map<std::string, ValueId> values;
  uint64_t change = 0;
  auto operator<=>(const XattrModel&) const = default;

  bool apply(const XattrOp& op) {
    const auto found = values.find(op.name);
    const bool there = found != values.end();
    switch (op.kind) {
      case XattrOp::Kind::get:
        if (!there) return op.status == NfsStatus::NFS4ERR_NOXATTR;
        return op.status == NfsStatus::NFS4_OK && found->second == op.value;
      case XattrOp::Kind::list: {
        std::set<std::string> expected;
        for (const auto& [name, value] : values) expected.insert(name);
        return op.status == NfsStatus::NFS4_OK && op.names == expected;
      }
      case XattrOp::Kind::set:
        if (op.how == XattrHow::CREATE && there) return op.status == NfsStatus::NFS4ERR_EXIST;
        if (op.how == XattrHow::REPLACE && !there) return op.status == NfsStatus::NFS4ERR_NOXATTR;
        values[op.name] = op.value;
        return changed(op);
      case XattrOp::Kind::remove:
        if (!there) return op.status == NfsStatus::NFS4ERR_NOXATTR;
        values.erase(found);
        return changed(op);
    }
    return false;
  }
  bool changed(const XattrOp& op) {
    if (op.status != NfsStatus::NFS4_OK || !op.change.atomic) return false;
    if (op.change.before != change || op.change.after <= change) return false;
    change = op.change.after;
    return true;
  }
};

class XattrsWorkload final : public Workload {
 public:
  explicit XattrsWorkload(World& world) : Workload(world, "xattrs") {}

  Task<> setup() override {
    clients_ = co_await start_clients(random().between(1, 3), 1, 3);
    if (world_.failed()) co_return;
    slots_ = slots_of(clients_);
    Slot& slot = clients_[0]->slot(0);
    const std::string name = "xattrs";
    root_ = co_await make_directory(slot, clients_[0]->root(), name);
    const uint64_t objects = random().between(1, 3);
    for (uint64_t i = 0; i < objects && !world_.failed(); ++i) {
      const std::string object = fmt::format("object {}", i), owner = "owner";
      Object& o = objects_.emplace_back();
      if (random().one_in(3)) {
        o.handle = co_await make_directory(slot, root_, object);
      } else {
        const OpenFile file = co_await create_file(slot, root_, object, owner);
        o.handle = file.handle;
        co_await close_file(slot, file);
      }
      co_await prepare(slot, o);
    }
  }

  void start() override {
    operations_ = random().between(30, 200);
    for (size_t i = 0; i < slots_.size(); ++i) spawn(work(*slots_[i], i));
  }

  Task<> check() override {
    for (Object& object : objects_) {
      for (const std::string& name : names_of(object)) {
        if (world_.failed()) co_return;
        co_await get(*slots_[0], object, name);
      }
      co_await list(*slots_[0], object);
      if (world_.failed()) co_return;
      const std::string wrong = check_linearizable(object.initial, object.history);
      if (!wrong.empty()) co_return fail("{}", wrong);
    }
  }

 private:
  struct Object {
    FileHandle handle;
    XattrModel initial;
    std::set<std::string> standing;  // names that nobody touches any more
    std::vector<Timed<XattrOp>> history;
  };

  static constexpr uint64_t names_max = 6;
  std::string some_name() { return fmt::format("n{}", random().below(names_max)); }
  static std::vector<std::string> names_of(const Object& object) {
    std::vector<std::string> names(object.standing.begin(), object.standing.end());
    for (uint64_t i = 0; i < names_max; ++i) names.push_back(fmt::format("n{}", i));
    return names;
  }
  // Never the same twice, but for the empty one.
  ValueId new_value(ValueSize size) { return (++last_value_ << 2U) | std::to_underlying(size); }
  // The largest ones are of two names alone, so that an object has room for all names.
  ValueId some_value(const std::string& name) {
    switch (random().below(8)) {
      case 0:
        return 0;
      case 1:
        return new_value(ValueSize::middle);
      case 2:
        return new_value(name <= "n1" ? ValueSize::largest : ValueSize::small);
      default:
        return new_value(ValueSize::small);
    }
  }

  Task<> prepare(Slot& slot, Object& object) {
    const uint64_t standing = random().below(10);
    for (uint64_t i = 0; i < standing && !world_.failed(); ++i) {
      const std::string name = fmt::format("standing {}", i);
      const ValueId value = new_value(ValueSize::small);
      const ByteVector content = content_of(value);
      slot.begin().putfh(object.handle).setxattr(XattrHow::CREATE, name, content);
      Reply& reply = co_await slot.ask();
      bench::ChangeInfo change;
      if (!(reply.putfh() && reply.setxattr(change)))
        co_return fail("SETXATTR {}: {}", name, bench::status_name(reply.error()));
      object.initial.values[name] = value;
      object.standing.insert(name);
    }
    slot.begin().putfh(object.handle).getattr(attr::CHANGE);
    Reply& reply = co_await slot.ask();
    Attributes attributes;
    if (!(reply.putfh() && reply.getattr(attributes)))
      co_return fail("GETATTR: {}", bench::status_name(reply.error()));
    object.initial.change = attributes.change;
  }

  Task<> work(Slot& slot, size_t number) {
    for (uint64_t i = 0; operations_ > 0 && !world_.failed(); ++i) {
      --operations_;
      Object& object = objects_[random().below(objects_.size())];
      const uint64_t what = random().below(20);
      const std::string name = some_name();
      if (what < 7)
        co_await set(slot, object, name);
      else if (what < 11)
        co_await remove(slot, object, name);
      else if (what < 15)
        co_await get(slot, object, name);
      else if (what < 17)
        co_await list(slot, object);
      else if (what < 19)
        co_await list_in_pieces(slot, object);
      else
        co_await come_and_go(slot, fmt::format("file {} {}", number, i));
      if (random().one_in(6))
        co_await slot.client().sleep(random().exponential(std::chrono::milliseconds(20)));
    }
  }

  void note(const Slot& slot, Object& object, XattrOp op) {
    object.history.push_back({slot.asked_at(), slot.answered_at(), std::move(op)});
    world_.trace("{}", object.history.back().op.words());
  }

  Task<> set(Slot& slot, Object& object, std::string name) {
    XattrOp op{.kind = XattrOp::Kind::set, .name = name, .value = some_value(name)};
    op.how = random().pick({XattrHow::EITHER, XattrHow::CREATE, XattrHow::REPLACE});
    const ByteVector content = content_of(op.value);
    slot.begin().putfh(object.handle).setxattr(op.how, name, content).getattr(attr::CHANGE);
    Reply& reply = co_await slot.ask();
    Attributes attributes;
    if (reply.putfh() && reply.setxattr(op.change) && reply.getattr(attributes) &&
        attributes.change != op.change.after)
      co_return fail("SETXATTR: the change attribute is {:x}, not {:x}", attributes.change, op.change.after);
    op.status = reply.error();
    note(slot, object, std::move(op));
  }

  Task<> remove(Slot& slot, Object& object, std::string name) {
    XattrOp op{.kind = XattrOp::Kind::remove, .name = name};
    slot.begin().putfh(object.handle).removexattr(name);
    Reply& reply = co_await slot.ask();
    if (reply.putfh()) reply.removexattr(op.change);
    op.status = reply.error();
    note(slot, object, std::move(op));
  }

  Task<> get(Slot& slot, Object& object, std::string name) {
    XattrOp op{.kind = XattrOp::Kind::get, .name = name};
    do {
      slot.begin().putfh(object.handle).getxattr(name);
      Reply& reply = co_await slot.ask();
      Bytes value;
      if (reply.putfh() && reply.getxattr(value)) {
        const std::optional<ValueId> id = value_of(value);
        if (!id) co_return fail("{} has a value of {} bytes that nobody has set", name, value.size());
        op.value = *id;
      }
      op.status = reply.error();
      // It was asked for a reply to be kept, and of this size none is.
    } while (op.status == NfsStatus::NFS4ERR_REP_TOO_BIG_TO_CACHE && !world_.failed());
    note(slot, object, std::move(op));
  }

  Task<> list(Slot& slot, Object& object) {
    XattrOp op{.kind = XattrOp::Kind::list};
    slot.begin().putfh(object.handle).listxattrs(0, 10'000);
    Reply& reply = co_await slot.ask();
    uint64_t cookie = 0;
    std::vector<std::string> names;
    bool eof = false;
    if (reply.putfh() && reply.listxattrs(cookie, names, eof)) {
      op.names = {names.begin(), names.end()};
      if (!eof || op.names.size() != names.size())
        co_return fail("a listing of {} names, {} of them different", names.size(), op.names.size());
    }
    op.status = reply.error();
    note(slot, object, std::move(op));
  }

  Task<> list_in_pieces(Slot& slot, Object& object) {
    std::vector<std::string> names;
    uint64_t cookie = 0;
    for (bool eof = false; !eof && !world_.failed();) {
      const size_t before = names.size();
      slot.begin().putfh(object.handle).listxattrs(cookie, static_cast<uint32_t>(random().between(32, 90)));
      Reply& reply = co_await slot.ask();
      if (!(reply.putfh() && reply.listxattrs(cookie, names, eof)))
        co_return fail("LISTXATTRS: {}", bench::status_name(reply.error()));
      if (names.size() == before && !eof) co_return fail("LISTXATTRS gave nothing, and that is not all");
    }
    if (world_.failed()) co_return;
    const std::multiset<std::string> seen(names.begin(), names.end());
    for (const std::string& name : names)
      if (seen.count(name) != 1) co_return fail("{} was listed {} times", name, seen.count(name));
    for (const std::string& name : object.standing)
      if (!seen.contains(name)) co_return fail("{} was not listed", name);
  }

  // A file of the slot's own, which is removed with all it has, perhaps before it is closed.
  Task<> come_and_go(Slot& slot, std::string name) {
    const std::string owner = fmt::format("owner of {}", name);
    OpenFile file = co_await create_file(slot, root_, name, owner);
    const uint64_t attributes = random().between(1, 4);
    for (uint64_t i = 0; i < attributes && !world_.failed(); ++i) {
      const std::string attribute = fmt::format("a{}", i);
      const ByteVector value(random().pick({3U, 500U, 60'000U}), static_cast<std::byte>(i));
      slot.begin().putfh(file.handle).setxattr(XattrHow::CREATE, attribute, value);
      Reply& reply = co_await slot.ask();
      bench::ChangeInfo change;
      if (!(reply.putfh() && reply.setxattr(change)))
        co_return fail("SETXATTR of a new file: {}", bench::status_name(reply.error()));
    }
    const bool closed = random().one_in(2);
    if (closed) co_await close_file(slot, file);
    if (world_.failed()) co_return;
    slot.begin().putfh(root_).remove(name);
    Reply& removed = co_await slot.ask();
    bench::ChangeInfo change;
    if (!(removed.putfh() && removed.remove(change)))
      co_return fail("REMOVE: {}", bench::status_name(removed.error()));
    slot.begin().putfh(file.handle).listxattrs(0, 1000);
    Reply& reply = co_await slot.ask();
    uint64_t cookie = 0;
    std::vector<std::string> left;
    bool eof = false;
    const bool there = reply.putfh() && reply.listxattrs(cookie, left, eof);
    if (there == closed || left.size() != (closed ? 0 : attributes))
      co_return fail("a removed file has {} attributes: {}", left.size(), bench::status_name(reply.error()));
    if (!closed) co_await close_file(slot, file);
  }

  std::vector<Client*> clients_;
  std::vector<Slot*> slots_;
  FileHandle root_;
  std::deque<Object> objects_;
  uint64_t operations_ = 0;
  ValueId last_value_ = 0;
};

}  // namespace

std::unique_ptr<Workload> make_xattrs(World& world) {
  return std::make_unique<XattrsWorkload>(world);
}

}  // namespace perdure::sim
