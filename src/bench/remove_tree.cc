#include "bench/remove_tree.h"

#include <utility>
#include <vector>

#include "bench/ops.h"

namespace perdure::bench {
namespace {

class Remover {
 public:
  Remover(Client& client, const FileHandle& parent, const std::string& name)
      : client_(client), directories_{{parent, name}} {}

  Result<void> run() {
    TRY(with_slots(1, &Remover::list));
    TRY(with_slots(client_.slots(), &Remover::remove_files));
    return with_slots(1, &Remover::remove_directories);
  }

 private:
  struct Name {
    FileHandle directory;
    std::string name;
  };

  Result<void> with_slots(size_t count, Task<> (Remover::*work)(Slot&)) {
    TaskGroup tasks;
    for (size_t i = 0; i < count; ++i) tasks.spawn((this->*work)(client_.slot(i)));
    return client_.run(tasks);
  }

  void give_up(const std::string& name, NfsStatus status) {
    client_.stop(fmt::format("removing {}: {}", name, status_name(status)));
  }

  // Directories come behind the one that they are in.
  Task<> list(Slot& slot) {
    for (size_t i = 0; i < directories_.size(); ++i) {
      const Name directory = directories_[i];
      FileHandle fh;
      Attributes attributes;
      NfsStatus status = co_await lookup(slot, directory.directory, directory.name, fh, attributes);
      if (status != NfsStatus::NFS4_OK) co_return give_up(directory.name, status);
      std::vector<DirectoryEntry> entries;
      status = co_await read_directory(slot, fh, entries);
      if (status != NfsStatus::NFS4_OK) co_return give_up(directory.name, status);
      for (DirectoryEntry& e : entries) {
        const bool is_directory = e.attributes.type == FileType::NF4DIR;
        (is_directory ? directories_ : files_).push_back({fh, std::move(e.name)});
      }
    }
  }

  Task<bool> remove_name(Slot& slot, const Name& name) {
    NfsStatus status{};
    do {
      status = co_await remove(slot, name.directory, name.name);
    } while (co_await wait_and_repeat(slot, status));
    if (status != NfsStatus::NFS4_OK) give_up(name.name, status);
    co_return status == NfsStatus::NFS4_OK;
  }

  // All slots take from one list.
  Task<> remove_files(Slot& slot) {
    while (!files_.empty()) {
      const Name file = std::move(files_.back());
      files_.pop_back();
      const bool removed = co_await remove_name(slot, file);
      if (!removed) co_return;
    }
  }

  Task<> remove_directories(Slot& slot) {
    while (!directories_.empty()) {
      const bool removed = co_await remove_name(slot, directories_.back());
      if (!removed) co_return;
      directories_.pop_back();
    }
  }

  Client& client_;
  std::vector<Name> directories_;
  std::vector<Name> files_;
};

}  // namespace

Result<void> remove_tree(Client& client, const FileHandle& parent, const std::string& name) {
  return Remover(client, parent, name).run();
}

}  // namespace perdure::bench
