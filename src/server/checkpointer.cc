#include "server/checkpointer.h"

#include "base/mark.h"
#include "base/planted_bug.h"

namespace perdure::server {

Checkpointer::Checkpointer(env::Env& env, state::Database& database, log::LogRing* ring, Options options,
                           Redone redone, Work work)
    : env_(env),
      database_(database),
      ring_(ring),
      options_(options),
      redone_(redone),
      work_(std::move(work)),
      began_(env.now()) {}

bool Checkpointer::due() const {
  const log::GroupCommit::Figures& figures = database_.commit().figures();
  const uint64_t records = redone_.records + figures.records - records_at_;
  const uint64_t bytes = redone_.bytes + figures.bytes - bytes_at_;
  const unsigned part = leads_ ? 2 : 1;
  return !requested_.empty() || (offered_ && records != 0) || records > options_.records_max / part ||
         bytes > options_.bytes_max / part ||
         (records != 0 && env_.now() - began_ > 2 * options_.interval / part) ||
         // A small ring must not fill up, whatever the other limits say. What is held for a follower, no
         // checkpoint can free.
         (ring_ != nullptr && bytes != 0 &&
          (ring_->position() - ring_->trimmed()).value > ring_->capacity() / 4 * (4 - part));
}

void Checkpointer::turn() {
  if (phase_ != Phase::idle) return;
  if (due()) begin();
  offered_ = false;
}

void Checkpointer::offer() {
  offered_ = true;
}

void Checkpointer::request(env::Task done) {
  requested_.push_back(std::move(done));
}

void Checkpointer::begin() {
  phase_ = Phase::writing_back;
  began_ = env_.now();
  waiting_ = std::exchange(requested_, {});
  const log::GroupCommit::Figures& figures = database_.commit().figures();
  records_at_ = redone_.records + figures.records;
  bytes_at_ = redone_.bytes + figures.bytes;
  if (ring_ != nullptr && planted("the log's tail moves before the checkpoint is applied"))
    ring_->trim(ring_->position());
  work_.write_back([this] { freeze(); });
}

void Checkpointer::freeze() {
  phase_ = Phase::applying;
  database_.begin_checkpoint([this](Result<store::Applied> applied) {
    phase_ = Phase::idle;
    if (!applied) PERDURE_MARK("a checkpoint fails");
    if (!applied) return work_.failed(std::move(applied).error());
    PERDURE_MARK("a checkpoint is applied");
    if (ring_ != nullptr) ring_->trim(applied->read_from);
    work_.applied();
    for (env::Task& done : std::exchange(waiting_, {})) done();
  });
}

}  // namespace perdure::server
