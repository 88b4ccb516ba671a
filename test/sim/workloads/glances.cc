// Some slots write numbers that only grow, and many others look at them all the time: while the log is slow,
// and requests arrive twice or on a new connection before what they tell is durable. A number is a word of
// one file, or a symbolic link that says it; that link comes and goes: each odd number is a link, each even
// one its absence.
//
// Judged: who has seen a number, or was told that it is written, never sees a smaller one again; nobody sees
// one that was not written.
#include <charconv>

#include "sim/workload.h"

namespace perdure::sim {
namespace {

class GlancesWorkload final : public Workload {
 public:
  explicit GlancesWorkload(World& world) : Workload(world, "glances") {}

  Task<> setup() override {
    clients_ = co_await start_clients(random().between(2, 4), 1, 4);
    if (world_.failed()) co_return;
    Slot& slot = clients_[0]->slot(0);
    const std::string name = "glances", owner = "owner";
    const FileHandle root = co_await make_directory(slot, clients_[0]->root(), name);
    const OpenFile created = co_await create_file(slot, root, name, owner);
    file_ = created.handle;
    directory_ = root;
    words_.resize(clients_[0]->slots());
    for (Word& word : words_) word.link = random().one_in(3);
    distance_ = random().pick({8U, 2 * block});
  }

  void start() override {
    operations_ = random().between(30, 200) * (world_.profile().pair ? 10 : 1);  // a takeover takes a while
    for (size_t c = 0; c < clients_.size(); ++c)
      for (size_t n = 0; n < clients_[c]->slots(); ++n)
        spawn(c == 0 ? write(clients_[c]->slot(n), n) : look(clients_[c]->slot(n)));
  }

  Task<> check() override {
    for (size_t word = 0; word < words_.size() && !world_.failed(); ++word)
      co_await look_at(clients_[0]->slot(0), word);
  }

 private:
  struct Word {
    bool link = false;
    FileHandle handle;     // of the newest link that is known to have been made,
    uint64_t made = 0;     // and its number
    uint64_t asked = 0;    // the newest number that somebody has tried to write
    uint64_t certain = 0;  // the newest that somebody has seen, or was told of
  };

  Task<> write(Slot& slot, size_t word) {
    while (operations_ > 0 && !world_.failed()) {
      --operations_;
      const uint64_t number = ++words_[word].asked;
      if (words_[word].link) {
        co_await change_link(slot, word, number);
        continue;
      }
      Call& call = slot.begin().putfh(file_);
      std::memcpy(call.write({}, word * distance_, bench::StableHow::FILE_SYNC4, 8).data(), &number, 8);
      Reply& reply = co_await slot.ask();
      uint32_t length = 0;
      bench::StableHow level{};
      Verifier verifier;
      if (!(reply.putfh() && reply.write(length, level, verifier)))
        co_return fail("write: {}", bench::status_name(reply.error()));
      words_[word].certain = std::max(words_[word].certain, number);
      if (random().one_in(4))
        co_await slot.client().sleep(random().exponential(std::chrono::milliseconds(2)));
    }
  }

  static std::string link_name(size_t word) { return fmt::format("word {}", word); }

  Task<> change_link(Slot& slot, size_t word, uint64_t number) {
    const std::string name = link_name(word), target = fmt::format("{}", number);
    Call& call = slot.begin().putfh(directory_);
    number % 2 != 0 ? call.symlink(name, target).getfh() : call.remove(name);
    Reply& reply = co_await slot.ask();
    bench::ChangeInfo info;
    FileHandle handle;
    if (!(reply.putfh() &&
          (number % 2 != 0 ? reply.create(info) && reply.getfh(handle) : reply.remove(info))))
      co_return fail("{} {}: {}", name, number, bench::status_name(reply.error()));
    if (number % 2 != 0) words_[word].handle = handle, words_[word].made = number;
    words_[word].certain = std::max(words_[word].certain, number);
  }

  Task<> look(Slot& slot) {
    while (operations_ > 0 && !world_.failed()) {
      co_await look_at(slot, random().below(words_.size()));
      if (random().one_in(4))
        co_await slot.client().sleep(random().exponential(std::chrono::milliseconds(2)));
    }
  }

  Task<> look_at(Slot& slot, size_t word) {
    const uint64_t least = words_[word].certain;
    if (words_[word].link) co_return co_await look_at_link(slot, word, least);
    slot.begin().putfh(file_).read({}, word * distance_, 8);
    Reply& reply = co_await slot.ask();
    Bytes data;
    bool eof = false;
    if (!(reply.putfh() && reply.read(data, eof)))
      co_return fail("read: {}", bench::status_name(reply.error()));
    uint64_t number = 0;  // a hole, or behind the end of the file
    std::memcpy(&number, data.data(), std::min<size_t>(data.size(), 8));
    seen(word, number, least);
  }

  // By its name or its handle. Its absence says only that the number is even, or that this link has been
  // removed, so the number is taken for the smallest that is possible.
  Task<> look_at_link(Slot& slot, size_t word, uint64_t least) {
    const std::string name = link_name(word);
    const uint64_t made = random().one_in(2) ? words_[word].made : 0;
    if (made != 0)
      slot.begin().putfh(words_[word].handle).readlink();
    else
      slot.begin().putfh(directory_).lookup(name).readlink();
    Reply& reply = co_await slot.ask();
    std::string_view target;
    uint64_t number = made != 0 ? std::max(least, made + 1) : least + least % 2;
    if (reply.putfh() && (made != 0 || reply.plain(Op::LOOKUP)) && reply.readlink(target)) {
      number = 0;
      std::from_chars(target.data(), target.data() + target.size(), number);
      if (number % 2 == 0) co_return fail("{} says {}", name, target);
    } else if (reply.error() != (made != 0 ? NfsStatus::NFS4ERR_STALE : NfsStatus::NFS4ERR_NOENT)) {
      co_return fail("{}: {}", name, bench::status_name(reply.error()));
    }
    seen(word, number, least);
  }

  // `least`: what was certain when it was asked for.
  void seen(size_t word, uint64_t number, uint64_t least) {
    world_.trace("word {} is {}", word, number);
    if (number < least) return fail("word {} is {} again, and was {}", word, number, least);
    if (number > words_[word].asked) return fail("word {} is {}, which nobody wrote", word, number);
    words_[word].certain = std::max(words_[word].certain, number);
  }

  std::vector<Client*> clients_;
  FileHandle file_, directory_;
  std::vector<Word> words_;
  uint64_t distance_ = 0;  // bytes from word to word
  uint64_t operations_ = 0;
};

}  // namespace

std::unique_ptr<Workload> make_glances(World& world) {
  return std::make_unique<GlancesWorkload>(world);
}

void adjust_glances(Profile& profile) {
  profile.log_factor = 30;
  profile.duplicate_one_in = 3;
  profile.deaths_max = 10;
  profile.death_gap_mean = 300;
}

}  // namespace perdure::sim
