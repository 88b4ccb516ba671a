#include "bench/standing_files.h"

namespace perdure::bench {

Task<> StandingFiles::prepare(Worker& w) {
  for (size_t i = w.index(); i < files_.size(); i += w.cell().workers()) {
    File& file = files_[i];
    file.directory = static_cast<uint32_t>(i % w.options().directories);
    file.name = fmt::format("standing{}", i);
    OpenFile open;
    NfsStatus status{};
    do {
      status = co_await create(w.slot(), w.cell().directories()[file.directory], file.name, "bench",
                               CreateMode::UNCHECKED4, open);
    } while (co_await wait_and_repeat(w.slot(), status));
    if (status != NfsStatus::NFS4_OK) co_return w.cell().give_up("creating " + file.name, status);
    status = co_await close(w.slot(), open);
    if (status != NfsStatus::NFS4_OK) co_return w.cell().give_up("closing " + file.name, status);
    file.fh = open.fh;
    file.fileid = open.attributes.fileid;
  }
}

}  // namespace perdure::bench
