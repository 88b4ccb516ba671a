#include "mirror/configuration.h"

namespace perdure::mirror {

Lsn end_of_epoch(const History& history, Epoch epoch) {
  const auto next = std::ranges::find_if(history, [&](const EpochStart& s) { return s.epoch > epoch; });
  return next == history.end() ? Lsn(UINT64_MAX) : next->lsn;
}

}  // namespace perdure::mirror
