#include "sim/judged_file.h"

namespace perdure::sim {

using bench::StableHow;

namespace {

FileHistory::Asked asked(const Slot& slot) {
  return {slot.asked_at(), slot.answered_at(), slot.life()};
}

}  // namespace

NfsStatus JudgedFile::ended(const char* what, const Reply& reply) {
  const NfsStatus status = reply.error();
  if (status == NfsStatus::NFS4_OK || (status == NfsStatus::NFS4ERR_NOSPC && may_be_full_)) return status;
  world_.fail("{}: {}: {}", name_, what, bench::status_name(status));
  return status;
}

void JudgedFile::judge(const std::string& wrong) {
  if (!wrong.empty()) world_.fail("{}: {}", name_, wrong);
}

Task<NfsStatus> JudgedFile::write(Slot& slot, Stateid stateid, Range range, StableHow how) {
  const uint32_t number = history_.write_asked(world_.moment(), world_.network().life(), range.offset,
                                               range.length, how == StableHow::UNSTABLE4);
  world_.trace("{} {}: change {} [{}, +{}), level {}", slot.client().name(), name_, number, range.offset,
               range.length, static_cast<int>(how));
  Call& call = slot.begin().putfh(handle_);
  history_.fill(number, call.write(stateid, range.offset, how, range.length));
  Reply& reply = co_await slot.ask();
  uint32_t count = 0;
  StableHow stable{};
  Verifier verifier{};
  if (!(reply.putfh() && reply.write(count, stable, verifier))) {
    world_.trace("{} {}: change {} [{}, +{}): {}", slot.client().name(), name_, number, range.offset,
                 range.length, bench::status_name(reply.error()));
    history_.failed(number, slot.answered_at(), slot.life());
    co_return ended("write", reply);
  }
  if (count != range.length || stable < how)
    world_.fail("{}: {} bytes of {} written, level {} of {}", name_, count, range.length,
                static_cast<int>(stable), static_cast<int>(how));
  world_.trace("{} {}: change {} [{}, +{}), level {}: done", slot.client().name(), name_, number,
               range.offset, range.length, static_cast<int>(how));
  verifier_told(0, {}, verifier);
  history_.write_answered(number, slot.answered_at(), slot.life(), stable != StableHow::UNSTABLE4, verifier);
  if (stable == StableHow::UNSTABLE4) unstable_.push_back(number);
  co_return NfsStatus::NFS4_OK;
}

Task<NfsStatus> JudgedFile::truncate(Slot& slot, Stateid stateid, uint64_t size) {
  const uint32_t number = history_.truncate_asked(world_.moment(), size);
  world_.trace("{} {}: change {}: size {}", slot.client().name(), name_, number, size);
  slot.begin().putfh(handle_).set_size(stateid, size);
  Reply& reply = co_await slot.ask();
  if (!(reply.putfh() && reply.setattr())) {
    history_.failed(number, slot.answered_at(), slot.life());
    world_.fail("{}: truncate: {}", name_, bench::status_name(reply.error()));
    co_return reply.error();
  }
  world_.trace("{} {}: change {}: size {}: done", slot.client().name(), name_, number, size);
  history_.truncate_answered(number, slot.answered_at());
  co_return NfsStatus::NFS4_OK;
}

// Succeeds in a full store as well.
Task<NfsStatus> JudgedFile::commit(Slot& slot, Range range) {
  slot.begin().putfh(handle_).commit(range.offset, range.length);
  Reply& reply = co_await slot.ask();
  Verifier verifier{};
  if (!(reply.putfh() && reply.commit(verifier))) {
    world_.fail("{}: commit: {}", name_, bench::status_name(reply.error()));
    co_return reply.error();
  }
  world_.trace("{} {}: commit [{}, +{})", slot.client().name(), name_, range.offset, range.length);
  history_.commit_answered(slot.asked_at(), range.offset, range.length, verifier);
  verifier_told(slot.asked_at(), range, verifier);
  co_return NfsStatus::NFS4_OK;
}

// A WRITE (asked: 0) or COMMIT was answered with this verifier.
void JudgedFile::verifier_told(uint64_t asked, Range range, const Verifier& verifier) {
  std::erase_if(unstable_, [&](uint32_t number) {
    const FileHistory::Change& c = history_.change(number);
    if (!history_.unstable(number)) return true;
    if (c.verifier == verifier || (asked != 0 && c.answered > asked)) return false;
    const bool covered = range.length == 0 || (c.begin < range.offset + range.length && c.end > range.offset);
    if (!covered) return false;
    lost_.push_back({c.begin, static_cast<uint32_t>(c.end - c.begin)});
    return true;
  });
}

// In several requests, if the answers are short: where they are to be kept there is little room.
Task<NfsStatus> JudgedFile::read(Slot& slot, Stateid stateid, Range range) {
  for (bool ended = false; !ended && !world_.failed();) {
    slot.begin().putfh(handle_).read(stateid, range.offset, range.length);
    Reply& reply = co_await slot.ask();
    Bytes data;
    bool eof = false;
    if (!(reply.putfh() && reply.read(data, eof))) {
      world_.fail("{}: read: {}", name_, bench::status_name(reply.error()));
      co_return reply.error();
    }
    world_.trace("{} {}: read [{}, +{}): {} bytes", slot.client().name(), name_, range.offset, range.length,
                 data.size());
    if (!eof) data = data.first(data.size() / FileHistory::word_bytes * FileHistory::word_bytes);
    judge(history_.judge_read(asked(slot), range.offset, range.length, data, eof));
    if (data.empty() && !eof) judge("a read of nothing that is not at the end of the file");
    range.offset += data.size();
    range.length -= static_cast<uint32_t>(data.size());
    ended = eof || range.length == 0;
  }
  co_return NfsStatus::NFS4_OK;
}

Task<NfsStatus> JudgedFile::look(Slot& slot, bool quiet) {
  slot.begin().putfh(handle_).getattr(attr::SIZE | attr::SPACE_USED);
  Reply& reply = co_await slot.ask();
  Attributes attributes;
  if (!(reply.putfh() && reply.getattr(attributes))) {
    world_.fail("{}: getattr: {}", name_, bench::status_name(reply.error()));
    co_return reply.error();
  }
  space_used_ = attributes.space_used;
  judge(history_.judge_size(asked(slot), attributes.size));
  judge(history_.judge_space(attributes.space_used, quiet));
  co_return NfsStatus::NFS4_OK;
}

Task<> JudgedFile::check(Slot& slot) {
  constexpr uint64_t read_bytes_max = 256U << 10U, around = 4096;
  co_await commit(slot, {});
  if (world_.failed()) co_return;
  const auto ranges = history_.written();
  for (const auto& [begin, end] : ranges) {
    const uint64_t last = end + around;
    for (uint64_t at = begin - std::min(begin, around); at < last && !world_.failed();) {
      const auto length = static_cast<uint32_t>(std::min(last - at, read_bytes_max));
      co_await read(slot, {}, {at, length});
      at += length;
    }
  }
  if (!world_.failed()) co_await look(slot, true);
}

}  // namespace perdure::sim
