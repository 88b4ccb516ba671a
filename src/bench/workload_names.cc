// Workloads on names and attributes: create, mkdir-rmdir, getattr, meta.
#include <string>

#include "bench/standing_files.h"

namespace perdure::bench {
namespace {

constexpr uint32_t file_bytes = 4096;
constexpr uint32_t readdir_bytes = 8192;
constexpr std::string_view open_owner = "bench";

class Create final : public Workload {
 public:
  Task<> prepare_alone(Worker& w) override {
    samples_.resize(w.cell().workers());
    co_return;
  }

  Task<> run(Worker& w) override {
    Slot& slot = w.slot();
    const auto& directories = w.cell().directories();
    for (uint64_t n = 0; w.more(); ++n) {
      const Nanoseconds begun = w.now();
      const std::string name = fmt::format("f{}-{}", w.index(), n);
      const uint64_t key = pattern_key(w.index(), n);
      OpenFile file;
      const Call::Owner owner{w.client().clientid(), open_owner};
      slot.begin(true)
          .putfh(directories[(uint64_t{w.index()} * 7 + n) % directories.size()])
          .open_create(owner, name, w.options().create_mode, 0644, key)
          .getfh()
          .getattr(attr::usual);
      Reply& r = co_await slot.exchange();
      ChangeInfo change;
      if (!(r.putfh() && r.open(file.stateid, change) && r.getfh(file.fh) && r.getattr(file.attributes))) {
        w.failed(r);
        continue;
      }

      fill_pattern(slot.begin(true).putfh(file.fh).write(file.stateid, 0, StableHow::FILE_SYNC4, file_bytes),
                   key, 0);
      Reply& written = co_await slot.exchange();
      uint32_t count = 0;
      StableHow stable{};
      Verifier verifier;
      if (!(written.putfh() && written.write(count, stable, verifier))) {
        w.failed(written);
        continue;
      }
      if (count != file_bytes || stable != StableHow::FILE_SYNC4)
        w.bad("WRITE: short, or not FILE_SYNC4 as asked");

      slot.begin(true).putfh(file.fh).close(file.stateid);
      Reply& closed = co_await slot.exchange();
      if (!(closed.putfh() && closed.close())) {
        w.failed(closed);
        continue;
      }
      w.done(begun, file_bytes);
      if (n % sample_every == 0) samples_[w.index()].push_back({file.fh, key});
    }
  }

  Task<> check(Worker& w) override {
    for (const Sample& sample : samples_[w.index()]) {
      bool good = false;
      const NfsStatus status = co_await check_pattern(w.slot(), sample.fh, 0, file_bytes, sample.key, good);
      if (!good) w.bad("a created file does not hold what was written: " + status_name(status));
    }
  }

 private:
  static constexpr uint64_t sample_every = 50;
  struct Sample {
    FileHandle fh;
    uint64_t key;
  };
  std::vector<std::vector<Sample>> samples_;
};

class MkdirRmdir final : public Workload {
 public:
  Task<> run(Worker& w) override {
    Slot& slot = w.slot();
    const auto& directories = w.cell().directories();
    for (uint64_t n = 0; w.more(); ++n) {
      const FileHandle& parent = directories[(w.index() + n) % directories.size()];
      const std::string name = fmt::format("m{}-{}", w.index(), n);
      Nanoseconds begun = w.now();
      slot.begin(true).putfh(parent).mkdir(name, 0755).getfh().getattr(attr::usual);
      Reply& made = co_await slot.exchange();
      ChangeInfo change;
      FileHandle fh;
      Attributes attributes;
      if (!(made.putfh() && made.create(change) && made.getfh(fh) && made.getattr(attributes))) {
        w.failed(made);
        continue;
      }
      if (attributes.type != FileType::NF4DIR) w.bad("what CREATE made is no directory");
      w.done(begun);
      if (!w.more()) co_return;

      begun = w.now();
      slot.begin(true).putfh(parent).remove(name);
      Reply& removed = co_await slot.exchange();
      if (removed.putfh() && removed.remove(change))
        w.done(begun);
      else
        w.failed(removed);
    }
  }
};

class Getattr final : public Workload {
 public:
  Task<> prepare_alone(Worker& w) override {
    standing_.size_for(w.cell());
    co_return;
  }
  Task<> prepare(Worker& w) override { return standing_.prepare(w); }

  Task<> run(Worker& w) override {
    Slot& slot = w.slot();
    while (w.more()) {
      const StandingFiles::File& file = standing_.any(w.random());
      const Nanoseconds begun = w.now();
      slot.begin(false).putfh(file.fh).getattr(attr::usual);
      Reply& r = co_await slot.exchange();
      Attributes attributes;
      if (!(r.putfh() && r.getattr(attributes))) {
        w.failed(r);
        continue;
      }
      if (attributes.fileid != file.fileid || attributes.type != FileType::NF4REG || attributes.size != 0)
        w.bad("GETATTR: the attributes of another file");
      w.done(begun);
    }
  }

 private:
  StandingFiles standing_;
};

class Meta final : public Workload {
 public:
  Task<> prepare_alone(Worker& w) override {
    standing_.size_for(w.cell());
    own_.resize(w.cell().workers());
    co_return;
  }
  Task<> prepare(Worker& w) override { return standing_.prepare(w); }

  Task<> run(Worker& w) override {
    while (w.more()) {
      const uint64_t draw = w.random().below(100);
      if (draw < 32)
        co_await look_up(w);
      else if (draw < 68)
        co_await get_attributes(w);
      else if (draw < 83)
        co_await ask_access(w);
      else if (draw < 87)
        co_await list(w);
      else if (draw < 92 || own_[w.index()].files.empty())
        co_await make(w);
      else if (draw < 97)
        co_await take_away(w);
      else
        co_await move(w);
    }
  }

 private:
  struct OwnFile {
    uint32_t directory;
    std::string name;
  };
  // Files that the worker made and may remove; nobody else touches them.
  struct Own {
    std::vector<OwnFile> files;
    uint64_t count = 0;
  };

  OwnFile new_name(Worker& w) {
    return {static_cast<uint32_t>(w.random().below(w.options().directories)),
            fmt::format("o{}-{}", w.index(), own_[w.index()].count++)};
  }
  static void end(Worker& w, Nanoseconds begun, bool good, const Reply& r) {
    if (good)
      w.done(begun);
    else
      w.failed(r);
  }

  Task<> look_up(Worker& w) {
    const StandingFiles::File& file = standing_.any(w.random());
    const Nanoseconds begun = w.now();
    w.slot()
        .begin(false)
        .putfh(w.cell().directories()[file.directory])
        .lookup(file.name)
        .getfh()
        .getattr(attr::usual);
    Reply& r = co_await w.slot().exchange();
    FileHandle fh;
    Attributes attributes;
    const bool good = r.putfh() && r.plain(Op::LOOKUP) && r.getfh(fh) && r.getattr(attributes);
    if (good && attributes.fileid != file.fileid) w.bad("LOOKUP: another file");
    end(w, begun, good, r);
  }

  Task<> get_attributes(Worker& w) {
    const StandingFiles::File& file = standing_.any(w.random());
    const Nanoseconds begun = w.now();
    w.slot().begin(false).putfh(file.fh).getattr(attr::usual);
    Reply& r = co_await w.slot().exchange();
    Attributes attributes;
    const bool good = r.putfh() && r.getattr(attributes);
    if (good && attributes.fileid != file.fileid) w.bad("GETATTR: the attributes of another file");
    end(w, begun, good, r);
  }

  Task<> ask_access(Worker& w) {
    const StandingFiles::File& file = standing_.any(w.random());
    const Nanoseconds begun = w.now();
    w.slot().begin(false).putfh(file.fh).access(access_all).getattr(attr::usual);
    Reply& r = co_await w.slot().exchange();
    uint32_t supported = 0;
    uint32_t granted = 0;
    Attributes attributes;
    const bool good = r.putfh() && r.access(supported, granted) && r.getattr(attributes);
    if (good && (granted & 1) == 0) w.bad("ACCESS: one's own file may not be read");
    end(w, begun, good, r);
  }

  Task<> list(Worker& w) {
    const uint64_t directory = w.random().below(w.options().directories);
    const Nanoseconds begun = w.now();
    w.slot()
        .begin(false)
        .putfh(w.cell().directories()[directory])
        .readdir(0, Verifier{}, readdir_bytes, attr::usual);
    Reply& r = co_await w.slot().exchange();
    Verifier verifier;
    Reply::Entry entry;
    bool eof = false;
    uint32_t count = 0;
    if (r.putfh() && r.readdir(verifier)) {
      while (r.next_entry(entry, eof)) ++count;
    }
    if (!r.failed() && !eof && count < 10) w.bad("READDIR: hardly any entries");
    end(w, begun, !r.failed(), r);
  }

  Task<> make(Worker& w) {
    OwnFile own = new_name(w);
    const Nanoseconds begun = w.now();
    OpenFile file;
    NfsStatus status = co_await create(w.slot(), w.cell().directories()[own.directory], own.name, open_owner,
                                       w.options().create_mode, file);
    if (status != NfsStatus::NFS4_OK) co_return w.failed(Op::OPEN, status);
    own_[w.index()].files.push_back(std::move(own));
    status = co_await close(w.slot(), file);
    if (status != NfsStatus::NFS4_OK) co_return w.failed(Op::CLOSE, status);
    w.done(begun);
  }

  OwnFile take_own(Worker& w) {
    std::vector<OwnFile>& files = own_[w.index()].files;
    std::swap(files[w.random().below(files.size())], files.back());
    OwnFile own = std::move(files.back());
    files.pop_back();
    return own;
  }

  Task<> take_away(Worker& w) {
    const OwnFile own = take_own(w);
    const Nanoseconds begun = w.now();
    const NfsStatus status = co_await remove(w.slot(), w.cell().directories()[own.directory], own.name);
    if (status != NfsStatus::NFS4_OK) co_return w.failed(Op::REMOVE, status);
    w.done(begun);
  }

  Task<> move(Worker& w) {
    const OwnFile from = take_own(w);
    OwnFile to = new_name(w);
    const auto& directories = w.cell().directories();
    const Nanoseconds begun = w.now();
    w.slot()
        .begin(true)
        .putfh(directories[from.directory])
        .savefh()
        .putfh(directories[to.directory])
        .rename(from.name, to.name);
    Reply& r = co_await w.slot().exchange();
    ChangeInfo source;
    ChangeInfo target;
    const bool good = r.putfh() && r.plain(Op::SAVEFH) && r.putfh() && r.rename(source, target);
    if (good) own_[w.index()].files.push_back(std::move(to));
    end(w, begun, good, r);
  }

  StandingFiles standing_;
  std::vector<Own> own_;
};

}  // namespace

std::unique_ptr<Workload> make_create() {
  return std::make_unique<Create>();
}
std::unique_ptr<Workload> make_mkdir_rmdir() {
  return std::make_unique<MkdirRmdir>();
}
std::unique_ptr<Workload> make_getattr() {
  return std::make_unique<Getattr>();
}
std::unique_ptr<Workload> make_meta() {
  return std::make_unique<Meta>();
}

}  // namespace perdure::bench
