// A directory that grows, to some hundred names and now and then to several thousand: slots create, remove
// and rename in it, each its own names, while others go through it with READDIR in small pieces, whose
// cookies outlive crashes and restarts, and look names up.
//
// Judged, exactly, when all is over: a name that was there during a whole listing is in it once; one that was
// there at no moment of it is not; any other at most once. So it is with a LOOKUP, which is a listing of one
// name. File ids and types are those of an object that had the name at some moment of it. Creations, removals
// and renames end as they must, since a name's owner knows whether it is there.
#include <map>

#include "sim/workload.h"

namespace perdure::sim {
namespace {

struct Object {
  uint64_t id = 0;
  bool directory = false;
  bool operator==(const Object&) const = default;
};

// An object has a name: since some moment of the first request until some moment of the second.
struct Span {
  uint64_t asked = 0, answered = 0;
  Object object;
  uint64_t end_asked = never, end_answered = never;
};

struct Listing {
  uint64_t asked = 0, answered = 0;
  std::string only;  // a LOOKUP of this name
  std::vector<std::pair<std::string, Object>> found;
};

class GrowthWorkload final : public Workload {
 public:
  explicit GrowthWorkload(World& world) : Workload(world, "growth") {}

  Task<> setup() override {
    const bool large = random().one_in(50);
    const uint64_t names = large ? random().between(2000, 5000) : random().between(20, 200);
    operations_ = large ? 400 : random().between(20, 150);
    listing_requests_ = large ? 500 : 150;
    bytes_max_ = large ? random().pick({4096U, 32768U}) : random().pick({300U, 600U, 2048U});
    // The others come when the long part is over: their leases would end in it.
    co_await join();
    if (world_.failed()) co_return;
    const std::string name = "growth";
    directory_ = co_await make_directory(*slots_[0], slots_[0]->client().root(), name);
    for (uint64_t i = 0; i < names / 2 && !world_.failed(); i += together) co_await prefill(i, names / 2);
    const uint64_t others = random().below(3);
    for (uint64_t i = 0; i < others && !world_.failed(); ++i) co_await join();
    own_.resize(slots_.size());
    for (uint64_t i = 0; i < names; ++i) {
      const std::string padding(random().one_in(10) ? random().below(60) : 0, 'x');
      own_[i % own_.size()].push_back(i < names / 2 ? fmt::format("{}", i) : fmt::format("{}{}", i, padding));
    }
  }

  void start() override {
    // The names of slots that look stay as they are.
    for (size_t i = 0; i < slots_.size(); ++i)
      spawn(i % 2 == 0 ? work(*slots_[i], own_[i]) : look(*slots_[i]));
  }

  Task<> check() override {
    co_await list(*slots_[0]);
    std::vector<std::string> names;
    for (const auto& [name, spans] : names_) names.push_back(name);
    for (size_t i = 0; i < 5 && !world_.failed() && !names.empty(); ++i)
      co_await lookup(*slots_[0], names[random().below(names.size())]);
    for (const Listing& listing : listings_)
      if (!world_.failed()) judge(listing);
  }

 private:
  static constexpr uint64_t together = 4;

  Task<> join() {
    Client& client = add_client({.slots = static_cast<uint32_t>(random().between(2, 3))});
    co_await client.start();
    for (size_t n = 0; n < client.slots(); ++n) slots_.push_back(&client.slot(n));
  }

  // Some directories at once, as long as nothing fails.
  Task<> prefill(uint64_t first, uint64_t end) {
    std::vector<std::string> names;
    for (uint64_t i = first; i < std::min(end, first + together); ++i) names.push_back(fmt::format("{}", i));
    Call& call = slots_[0]->begin();
    for (const std::string& name : names) call.putfh(directory_).mkdir(name, 0777).getattr(attr::FILEID);
    Reply& reply = co_await slots_[0]->ask();
    for (const std::string& name : names) {
      bench::ChangeInfo change;
      Attributes attributes;
      if (!(reply.putfh() && reply.create(change) && reply.getattr(attributes)))
        co_return fail("mkdir {}: {}", name, bench::status_name(reply.error()));
      begins(*slots_[0], name, {attributes.fileid, true});
    }
  }

  Task<> work(Slot& slot, const std::vector<std::string>& own) {
    while (operations_ > 0 && !world_.failed()) {
      --operations_;
      std::string name = own[random().below(own.size())];
      for (int i = 0; i < 3 && there(name); ++i) name = own[random().below(own.size())];
      const std::string other = own[random().below(own.size())];
      const uint64_t what = random().below(10);
      if (what < 5 || (what < 7 && !there(name))) {
        co_await create(slot, name, random().one_in(3));
      } else if (what < 8 && !there(name) && there(other)) {
        co_await rename(slot, other, name);
      } else {
        co_await remove(slot, name);
      }
      if (random().one_in(8))
        co_await slot.client().sleep(random().exponential(std::chrono::milliseconds(20)));
    }
  }

  Task<> look(Slot& slot) {
    while (operations_ > 0 && listing_requests_ > 0 && !world_.failed()) {
      if (random().one_in(3)) {
        co_await list(slot);
      } else {
        const auto& own = own_[random().below(own_.size())];
        co_await lookup(slot, own[random().below(own.size())]);
        --listing_requests_;
      }
    }
  }

  bool there(const std::string& name) const {
    auto it = names_.find(name);
    return it != names_.end() && it->second.back().end_asked == never;
  }
  void begins(const Slot& slot, const std::string& name, Object object) {
    names_[name].push_back({slot.asked_at(), slot.answered_at(), object});
  }
  void ends(const Slot& slot, const std::string& name) {
    names_[name].back().end_asked = slot.asked_at();
    names_[name].back().end_answered = slot.answered_at();
  }
  // True: it was done.
  bool ended(const char* what, const std::string& name, bool done, NfsStatus status, NfsStatus expected) {
    if (status != (done ? NfsStatus::NFS4_OK : expected) || (expected != NfsStatus::NFS4_OK) == done)
      fail("{} {}: {}", what, name, bench::status_name(status));
    return done;
  }

  Task<> create(Slot& slot, std::string name, bool directory);
  Task<> remove(Slot& slot, std::string name);
  Task<> rename(Slot& slot, std::string from, std::string to);
  Task<> list(Slot& slot);
  Task<> lookup(Slot& slot, std::string name);
  void judge(const Listing& listing);

  std::vector<Slot*> slots_;
  FileHandle directory_;
  std::vector<std::vector<std::string>> own_;       // of each slot
  std::map<std::string, std::vector<Span>> names_;  // that were ever there
  std::vector<Listing> listings_;
  uint64_t operations_ = 0, listing_requests_ = 0;
  uint32_t bytes_max_ = 0;
};

Task<> GrowthWorkload::create(Slot& slot, std::string name, bool directory) {
  constexpr Stateid current{.seqid = 1, .other = {}};  // RFC 8881 §16.2.3.1.2
  const NfsStatus expected = there(name) ? NfsStatus::NFS4ERR_EXIST : NfsStatus::NFS4_OK;
  Call& call = slot.begin().putfh(directory_);
  if (directory)
    call.mkdir(name, 0777).getattr(attr::FILEID);
  else
    call.open_create({slot.client().id(), "owner"}, name, bench::CreateMode::GUARDED4, 0666, 0)
        .getattr(attr::FILEID)
        .close(current);
  Reply& reply = co_await slot.ask();
  bench::ChangeInfo change;
  Stateid stateid;
  Attributes attributes;
  const bool done = reply.putfh() &&
                    (directory ? reply.create(change) && reply.getattr(attributes)
                               : reply.open(stateid, change) && reply.getattr(attributes) && reply.close());
  if (ended("create", name, done, reply.error(), expected))
    begins(slot, name, {attributes.fileid, directory});
}

Task<> GrowthWorkload::remove(Slot& slot, std::string name) {
  const NfsStatus expected = there(name) ? NfsStatus::NFS4_OK : NfsStatus::NFS4ERR_NOENT;
  slot.begin().putfh(directory_).remove(name);
  Reply& reply = co_await slot.ask();
  bench::ChangeInfo change;
  const bool done = reply.putfh() && reply.remove(change);
  if (ended("remove", name, done, reply.error(), expected)) ends(slot, name);
}

Task<> GrowthWorkload::rename(Slot& slot, std::string from, std::string to) {
  slot.begin().putfh(directory_).savefh().putfh(directory_).rename(from, to);
  Reply& reply = co_await slot.ask();
  bench::ChangeInfo source, target;
  const bool done = reply.putfh() && reply.plain(Op::SAVEFH) && reply.putfh() && reply.rename(source, target);
  if (!ended("rename", from, done, reply.error(), NfsStatus::NFS4_OK)) co_return;
  begins(slot, to, names_[from].back().object);
  ends(slot, from);
}

Task<> GrowthWorkload::list(Slot& slot) {
  Listing listing;
  uint64_t cookie = 0;
  Verifier verifier{};
  for (bool eof = false; !eof && !world_.failed();) {
    slot.begin().putfh(directory_).readdir(cookie, verifier, bytes_max_, attr::FILEID | attr::TYPE);
    Reply& reply = co_await slot.ask();
    if (listing_requests_ > 0) --listing_requests_;
    if (cookie == 0) listing.asked = slot.asked_at();
    if (!(reply.putfh() && reply.readdir(verifier)))
      co_return fail("readdir: {}", bench::status_name(reply.error()));
    Reply::Entry entry;
    while (reply.next_entry(entry, eof)) {
      const bool directory = entry.attributes.type == bench::FileType::NF4DIR;
      listing.found.emplace_back(entry.name, Object{entry.attributes.fileid, directory});
      cookie = entry.cookie;
    }
    if (reply.failed()) co_return fail("readdir: {}", bench::status_name(reply.error()));
    if (random().one_in(10))
      co_await slot.client().sleep(random().exponential(std::chrono::milliseconds(50)));
  }
  listing.answered = slot.answered_at();
  listings_.push_back(std::move(listing));
}

Task<> GrowthWorkload::lookup(Slot& slot, std::string name) {
  slot.begin().putfh(directory_).lookup(name).getattr(attr::FILEID | attr::TYPE);
  Reply& reply = co_await slot.ask();
  Attributes attributes;
  Listing listing{.asked = slot.asked_at(), .answered = slot.answered_at(), .only = name, .found = {}};
  if (reply.putfh() && reply.plain(Op::LOOKUP) && reply.getattr(attributes)) {
    const Object object{attributes.fileid, attributes.type == bench::FileType::NF4DIR};
    listing.found.emplace_back(name, object);
  } else if (reply.error() != NfsStatus::NFS4ERR_NOENT) {
    co_return fail("lookup {}: {}", name, bench::status_name(reply.error()));
  }
  listings_.push_back(std::move(listing));
}

void GrowthWorkload::judge(const Listing& listing) {
  const std::string what =
      fmt::format("{} {} (asked {}, answered {})", listing.only.empty() ? "a listing" : "LOOKUP",
                  listing.only, listing.asked, listing.answered);
  std::map<std::string, Object> found;
  for (const auto& [name, object] : listing.found) {
    if (!found.emplace(name, object).second) return fail("{} has {} twice", what, name);
    auto it = names_.find(name);
    const bool possible =
        it != names_.end() && std::ranges::any_of(it->second, [&](const Span& span) {
          return span.object == object && span.asked < listing.answered && span.end_answered > listing.asked;
        });
    if (!possible) return fail("{} has {}, file id {}, which was not there", what, name, object.id);
  }
  for (const auto& [name, spans] : names_) {
    if (found.contains(name) || (!listing.only.empty() && listing.only != name)) continue;
    for (const Span& span : spans)
      if (span.answered < listing.asked && span.end_asked > listing.answered)
        return fail("{} misses {}, file id {}, which was there all the time", what, name, span.object.id);
  }
}

}  // namespace

std::unique_ptr<Workload> make_growth(World& world) {
  return std::make_unique<GrowthWorkload>(world);
}

}  // namespace perdure::sim
