// Scenarios of what files hold.
#include "sim/scenario.h"

namespace perdure::sim {

namespace {
constexpr auto stable = bench::StableHow::FILE_SYNC4;

Task<> make_small(Stage& s) {
  co_await s.make_file("f", 4);
}

Task<> make_on_blocks(Stage& s) {
  co_await s.make_file("f", 140);
  co_await s.checkpoint();
}

Task<> make_fragmented(Stage& s) {
  co_await s.make_fragmented("f", pages);
}

Task<> make_fragmented_on_blocks(Stage& s) {
  co_await s.make_fragmented("f", extents);
  co_await s.checkpoint();
}

Task<> write_few(Stage& s) {
  co_await s.make_file("f", 4);
  co_await s.write_unstable("f", 10);
}

Task<> write_many(Stage& s) {
  co_await s.make_file("f", 4);
  co_await s.write_unstable("f", 300);
}

Task<> commit_few(Stage& s) {
  co_await s.commit_as_a_client_does("f", 10);
}

Task<> commit_many(Stage& s) {
  co_await s.commit_as_a_client_does("f", 300);
}

template <uint64_t offset, uint32_t bytes>
Task<> write_stable(Stage& s) {
  Call& c = s.call().putfh(s.handles["f"]);
  Stage::add_write(c, {}, offset, stable, bytes, 99);
  c.getattr(attr::SIZE);
  co_await s.ask();
}

template <uint64_t size>
Task<> set_size(Stage& s) {
  s.call().putfh(s.handles["f"]).set_size({}, size).getattr(attr::SIZE);
  co_await s.ask();
}

Task<> make_two(Stage& s) {
  co_await s.make_file("f", 140);
  co_await s.make_fragmented("g", pages);
  co_await s.checkpoint();
  Call& c = s.call().putfh(s.handles["f"]);
  Stage::add_write(c, {}, 7 * block + 512, stable, 2 * block, 5);
  co_await s.ask();
}

Task<> make_two_for_holder(Stage& s) {
  co_await make_two(s);
  co_await s.start_holder();
}

// Two files after it: the clone, and what shares its blocks is changed.
Task<> change_both(Stage& s) {
  for (const char* name : {"f", "g"}) {
    Call& c = s.call().putfh(s.handles[name]);
    Stage::add_write(c, {}, 5 * block, stable, 10 * block, 17);
    co_await s.ask();
  }
  co_await s.checkpoint();
}

template <uint64_t from, uint64_t to, uint64_t length, bool whole>
Task<> clone(Stage& s) {
  Call& c = s.call().putfh(s.handles["f"]).savefh().putfh(s.handles["g"]);
  if (whole)
    c.clone({}, {}, {from, to, length});
  else
    c.copy({}, {}, {from, to, length});
  c.getattr(attr::SIZE);
  co_await s.ask();
}

template <uint64_t offset, uint64_t length>
Task<> punch(Stage& s) {
  s.call()
      .putfh(s.handles["f"])
      .deallocate({}, offset, length)
      .seek({}, 0, true)
      .seek({}, 100, false)
      .getattr(attr::SIZE);
  co_await s.ask();
}
}  // namespace

std::vector<Scenario> data_scenarios() {
  return {
      {.name = "clone",
       .prepare = make_two,
       .act = clone<0, 2 * block, 140 * block, true>,
       .follow = change_both},
      {.name = "clone-many-rows",
       .prepare = [](Stage& s) -> Task<> {
         co_await make_fragmented_on_blocks(s);
         co_await s.make_file("g", 4);
       },
       .act = clone<0, 0, 0, true>,
       .cold = true},
      {.name = "copy",
       .prepare = make_two,
       .act = clone<0, 4 * block, 120 * block + 1000, false>,
       .follow = change_both},
      {.name = "copy-unaligned",
       .prepare = make_two,
       .act = clone<100, 3 * block, 300'000, false>,
       .cold = true},
      {.name = "copy-asynchronous",
       .prepare = make_two_for_holder,
       .act = [](Stage& s) -> Task<> {
         const Call::CopyRange range{100, 3 * block, 20 * block};
         co_await s.copy_as_holder("f", "g", range);
       }},
      {.name = "copy-cancelled",
       .prepare = make_two_for_holder,
       .act = [](Stage& s) -> Task<> {
         const Call::CopyRange range{100, 3 * block, 20 * block};
         co_await s.copy_and_cancel("f", "g", range);
       }},
      {.name = "punch", .prepare = make_on_blocks, .act = punch<10 * block + 100, 100 * block>},
      {.name = "punch-many-rows",
       .prepare = make_fragmented_on_blocks,
       .act = punch<1000, 4 * extents * block>,
       .cold = true},
      {.name = "allocate",
       .prepare = make_small,
       .act = [](Stage& s) -> Task<> {
         s.call().putfh(s.handles["f"]).allocate({}, 2 * block, 100 * block).getattr(attr::SIZE);
         co_await s.ask();
       }},
      // Behind a change, so that they are in the log while they wait.
      {.name = "allocate-waits-for-space",  // in vain
       .prepare = [](Stage& s) -> Task<> {
         co_await s.make_file("f", 4);
         co_await s.write_unstable("f", 10);
       },
       .act = [](Stage& s) -> Task<> {
         s.call().putfh(s.handles["f"]).set_mode(0640).allocate({}, 0, 15'800 * block);
         co_await s.ask();
       },
       .follow = commit_few},
      {.name = "seek-over-many-rows",  // that are cut off, and not yet gone
       .prepare = [](Stage& s) -> Task<> {
         co_await s.make_fragmented("f", 100);
         co_await s.checkpoint();
       },
       .act = [](Stage& s) -> Task<> {
         Call& c = s.call().putfh(s.handles["f"]).set_size({}, block).set_size({}, 500 * block);
         c.seek({}, 2 * block, false);
         co_await s.ask();
       },
       .small_steps = true},
      {.name = "write-block", .prepare = make_small, .act = write_stable<block, block>},
      {.name = "write-part-of-block",
       .prepare = make_on_blocks,
       .act = write_stable<10 * block + 100, 200>,
       .cold = true},
      {.name = "write-many-blocks", .prepare = make_small, .act = write_stable<2 * block, 512U << 10U>},
      {.name = "overwrite-many-blocks",
       .prepare = make_on_blocks,
       .act = write_stable<3 * block, 512U << 10U>},
      {.name = "overwrite-many-blocks-cold",
       .prepare = make_on_blocks,
       .act = write_stable<3 * block + 512, 300U << 10U>,
       .cold = true},
      {.name = "write-unstable-and-commit",
       .prepare = make_small,
       .act = [](Stage& s) -> Task<> {
         co_await s.write_unstable("f", 130);
         co_await s.commit_as_a_client_does("f", 130);
       }},
      {.name = "commit-few-blocks", .prepare = write_few, .act = commit_few},
      {.name = "commit-many-blocks", .prepare = write_many, .act = commit_many},
      {.name = "truncate", .prepare = make_small, .act = set_size<block + 100>},
      {.name = "extend", .prepare = make_small, .act = set_size<(1ULL << 21U) + 7>},
      {.name = "truncate-big-file-of-page-rows",
       .prepare = make_fragmented,
       .act = set_size<4 * block + 10>,
       .log_megabytes = 16},
      {.name = "truncate-big-file-of-extents",
       .prepare = make_fragmented_on_blocks,
       .act = set_size<4 * block + 10>},
      {.name = "truncate-big-file-cold",
       .prepare = make_fragmented_on_blocks,
       .act = set_size<4 * block + 10>,
       .cold = true},
      // What is written and cut off again while a reclaim is at work behind it.
      {.name = "truncate-write-truncate",
       .prepare = make_fragmented_on_blocks,
       .act = [](Stage& s) -> Task<> {
         Call& c = s.call().putfh(s.handles["f"]).set_size({}, 10 * block);
         Stage::add_write(c, {}, 600 * block, stable, 2 * block, 5);
         co_await s.ask();
         Call& d = s.call().putfh(s.handles["f"]).set_size({}, 5 * block + 1);
         Stage::add_write(d, {}, 20 * block, stable, block, 6);
         co_await s.ask();
       }},
      {.name = "open-truncates-big-file",
       .prepare = make_fragmented_on_blocks,
       .act = [](Stage& s) -> Task<> {
         s.call().putfh(s.root()).open_truncate(s.owner(), {}, "f").getattr(attr::SIZE);
         co_await s.ask();
         s.stateids["f"] = s.stateid;
       }},
  };
}

}  // namespace perdure::sim
