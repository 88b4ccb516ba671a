// Some slots write numbers that only grow, each its own word of one file, and many others look at them all
// the time: while the log is slow, and requests arrive twice or on a new connection before what they tell is
// durable.
//
// Judged: who has seen a number, or was told that it is written, never sees a smaller one again; nobody sees
// one that was not written.
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
    words_.resize(clients_[0]->slots());
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
    uint64_t asked = 0;    // the newest number that somebody has tried to write
    uint64_t certain = 0;  // the newest that somebody has seen, or was told of
  };

  Task<> write(Slot& slot, size_t word) {
    while (operations_ > 0 && !world_.failed()) {
      --operations_;
      const uint64_t number = ++words_[word].asked;
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

  Task<> look(Slot& slot) {
    while (operations_ > 0 && !world_.failed()) {
      co_await look_at(slot, random().below(words_.size()));
      if (random().one_in(4))
        co_await slot.client().sleep(random().exponential(std::chrono::milliseconds(2)));
    }
  }

  Task<> look_at(Slot& slot, size_t word) {
    const uint64_t least = words_[word].certain;
    slot.begin().putfh(file_).read({}, word * distance_, 8);
    Reply& reply = co_await slot.ask();
    Bytes data;
    bool eof = false;
    if (!(reply.putfh() && reply.read(data, eof)))
      co_return fail("read: {}", bench::status_name(reply.error()));
    uint64_t number = 0;  // a hole, or behind the end of the file
    std::memcpy(&number, data.data(), std::min<size_t>(data.size(), 8));
    world_.trace("word {} is {}", word, number);
    if (number < least) co_return fail("word {} is {} again, and was {}", word, number, least);
    if (number > words_[word].asked) co_return fail("word {} is {}, which nobody wrote", word, number);
    words_[word].certain = std::max(words_[word].certain, number);
  }

  std::vector<Client*> clients_;
  FileHandle file_;
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
