// Scenarios of directories and their entries.
#include "sim/scenario.h"

namespace perdure::sim {

namespace {
Task<> make_two_files(Stage& s) {
  co_await s.make_file("a", 3);
  co_await s.make_file("b", 2);
}

Task<> make_directories(Stage& s) {
  const std::string d = "d", e = "e";
  s.handles[d] = co_await s.make_directory(s.observer().slot(0), s.root(), d);
  s.handles[e] = co_await s.make_directory(s.observer().slot(0), s.root(), e);
  co_await s.make_file("a", 1);
}

Task<> make_fragmented_pages(Stage& s) {
  co_await s.make_fragmented("big", pages);
  co_await s.make_file("a", 1);
}

Task<> make_fragmented_extents(Stage& s) {
  co_await s.make_fragmented("big", extents);
  co_await s.make_file("a", 1);
  co_await s.checkpoint();
}

Task<> make_unlinked_open(Stage& s) {
  co_await make_fragmented_extents(s);
  co_await s.open_as("big", "owner");
  s.call().putfh(s.root()).remove("big");
  co_await s.ask();
}

const std::vector<bench::Ace>& some_list() {
  static const std::vector<bench::Ace> list{
      {0, 3, 0x27, "1000"}, {1, 1, 0x2, "EVERYONE@"}, {0, 0, 0x1601e7, "OWNER@"}, {0, 0x42, 0x1, "1000"}};
  return list;
}

// "a" and the directory "d" have lists.
Task<> make_lists(Stage& s) {
  co_await make_directories(s);
  s.call().putfh(s.handles["a"]).set_acl(some_list()).putfh(s.handles["d"]).set_acl(some_list());
  co_await s.ask();
}

Task<> remove_big(Stage& s) {
  s.call().putfh(s.root()).remove("big");
  co_await s.ask();
}

Task<> rename_over_big(Stage& s) {
  s.call().putfh(s.root()).savefh().putfh(s.root()).rename("a", "big");
  co_await s.ask();
}
}  // namespace

std::vector<Scenario> name_scenarios() {
  return {
      {.name = "mkdir",
       .act = [](Stage& s) -> Task<> {
         s.call().putfh(s.root()).mkdir("d", 0755).getattr(attr::TYPE | attr::NUMLINKS);
         co_await s.ask();
       }},
      {.name = "mkdir-exists",
       .prepare = make_directories,
       .act = [](Stage& s) -> Task<> {
         s.call().putfh(s.root()).mkdir("d", 0755);
         co_await s.ask();
       }},
      {.name = "symlink",
       .act = [](Stage& s) -> Task<> {
         s.call().putfh(s.root()).symlink("l", "somewhere/else");
         co_await s.ask();
       }},
      {.name = "remove-file",
       .prepare = make_two_files,
       .act = [](Stage& s) -> Task<> {
         s.call().putfh(s.root()).remove("a");
         co_await s.ask();
       }},
      {.name = "remove-directory",
       .prepare = make_directories,
       .act = [](Stage& s) -> Task<> {
         s.call().putfh(s.root()).remove("d");
         co_await s.ask();
       },
       .cold = true},
      {.name = "rename",
       .prepare = make_two_files,
       .act = [](Stage& s) -> Task<> {
         s.call().putfh(s.root()).savefh().putfh(s.root()).rename("a", "c");
         co_await s.ask();
       }},
      {.name = "rename-over-file",
       .prepare = make_two_files,
       .act = [](Stage& s) -> Task<> {
         s.call().putfh(s.root()).savefh().putfh(s.root()).rename("a", "b");
         co_await s.ask();
       },
       .cold = true},
      {.name = "rename-into-directory",
       .prepare = make_directories,
       .act = [](Stage& s) -> Task<> {
         s.call().putfh(s.root()).savefh().putfh(s.handles["d"]).rename("e", "inner");
         co_await s.ask();
       }},
      {.name = "rename-over-big-file", .prepare = make_fragmented_extents, .act = rename_over_big},
      {.name = "link",
       .prepare = make_directories,
       .act = [](Stage& s) -> Task<> {
         s.call().putfh(s.handles["a"]).savefh().putfh(s.handles["d"]).link("same");
         co_await s.ask();
       }},
      {.name = "remove-big-file-of-page-rows",
       .prepare = make_fragmented_pages,
       .act = remove_big,
       .log_megabytes = 16},
      {.name = "remove-big-file-of-extents", .prepare = make_fragmented_extents, .act = remove_big},
      {.name = "remove-big-file-cold", .prepare = make_fragmented_extents, .act = remove_big, .cold = true},
      {.name = "close-unlinked-big-file",
       .prepare = make_unlinked_open,
       .act = [](Stage& s) -> Task<> {
         s.call().putfh(s.handles["big"]).close(s.stateids["owner"]);
         co_await s.ask();
       }},
      {.name = "set-mode",
       .prepare = make_two_files,
       .act = [](Stage& s) -> Task<> {
         s.call().putfh(s.handles["a"]).set_mode(0640).getattr(attr::MODE);
         co_await s.ask();
       }},
      {.name = "set-list",
       .prepare = make_two_files,
       .act = [](Stage& s) -> Task<> {
         s.call().putfh(s.handles["a"]).set_acl(some_list()).getattr(attr::MODE | attr::ACL);
         co_await s.ask();
       }},
      {.name = "set-mode-beside-list",
       .prepare = make_lists,
       .act = [](Stage& s) -> Task<> {
         s.call().putfh(s.handles["d"]).set_mode(0750).getattr(attr::MODE);
         co_await s.ask();
       },
       .cold = true},
      {.name = "inherit-list",
       .prepare = make_lists,
       .act = [](Stage& s) -> Task<> {
         Call& c = s.call().putfh(s.handles["d"]).mkdir("inner", 0755);
         c.open_create(s.owner(), "f", bench::CreateMode::GUARDED4, 0640, 0).getattr(attr::MODE);
         co_await s.ask();
       },
       .cold = true},
      {.name = "remove-what-has-a-list",
       .prepare = make_lists,
       .act = [](Stage& s) -> Task<> {
         s.call().putfh(s.root()).remove("a").remove("d");
         co_await s.ask();
       },
       .cold = true},
      // Several steps and runs in one request: it goes on where it was.
      {.name = "many-operations",
       .prepare = make_two_files,
       .act = [](Stage& s) -> Task<> {
         Call& c = s.call().putfh(s.root()).mkdir("d", 0755);
         c.open_create(s.owner(), "f", bench::CreateMode::GUARDED4, 0644, 0);
         Stage::add_write(c, Stage::current, 0, bench::StableHow::FILE_SYNC4, 256U << 10U, 77);
         c.commit(0, 0).close(Stage::current).putfh(s.root()).savefh().rename("a", "c").remove("b");
         co_await s.ask();
       }},
  };
}

}  // namespace perdure::sim
