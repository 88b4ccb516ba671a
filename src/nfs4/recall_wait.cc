#include "nfs4/recall_wait.h"

#include <algorithm>

#include "base/mark.h"
#include "base/planted_bug.h"
#include "nfs4/compound.h"
#include "nfs4/service.h"

namespace perdure::nfs4 {

RecallWaits::~RecallWaits() {
  for (const auto& [id, wait] : waits_) service_.clients().env().cancel(wait.timer);
}

// The run in which it begins to wait is the one that begins the recall: it must be committed, so even who may
// not wait at all is told so by the next run.
Outcome<void> RecallWaits::wait(const Compound& c, env::Duration patience) {
  env::Env& env = service_.clients().env();
  auto [it, fresh] = waits_.try_emplace(c.id());
  Wait& wait = it->second;
  if (fresh) {
    wait.session = c.registers.slot.session;
    const bool at_once = too_many(wait.session);
    if (at_once) PERDURE_MARK("too many requests of a session wait for recalls");
    env::Duration time = at_once ? env::Duration(0) : patience;
    if (planted("who waits for a recall keeps its slot")) time = std::chrono::hours(1);
    wait.until = env.now() + time;
    wait.timer = env.after(time, [this, id = c.id()] { service_.processor().resume(id); });
  } else if (env.now() >= wait.until) {
    PERDURE_MARK("a request has waited long enough for a recall");
    end(c.id());
    return Status::delay;
  }
  return Stop::wait();
}

void RecallWaits::end(TransactionId id) {
  const auto it = waits_.find(id);
  if (it == waits_.end()) return;
  service_.clients().env().cancel(it->second.timer);
  waits_.erase(it);
}

// Of NFSv4.0 requests have no slots.
bool RecallWaits::too_many(client::SessionNumber session) const {
  const client::SessionTwin* twin = service_.clients().session_twin(session);
  if (twin == nullptr || twin->unsequenced) return false;
  const auto of_it =
      std::ranges::count_if(waits_, [&](const auto& w) { return w.second.session == session; });
  return static_cast<size_t>(of_it) > twin->slots.size() / 2;
}

}  // namespace perdure::nfs4
