// Scenarios of extended attributes.
#include "sim/scenario.h"

namespace perdure::sim {

namespace {

using bench::XattrHow;

Task<> make_object_with_one(Stage& s) {
  co_await s.make_file("a", 1);
  co_await s.set_xattrs("a", 1, 100);
}

Task<> make_object_with_many(Stage& s) {
  co_await s.make_file("a", 1);
  co_await s.set_xattrs("a", 40, 5000);
  co_await s.checkpoint();
}

Task<> make_directory_with_some(Stage& s) {
  const std::string d = "d";
  s.handles[d] = co_await s.make_directory(s.observer().slot(0), s.root(), d);
  co_await s.set_xattrs("d", 3, 10);
}

Task<> make_big_with_some(Stage& s) {
  co_await s.make_fragmented("big", extents);
  co_await s.set_xattrs("big", 3, 10);
  co_await s.checkpoint();
}

Task<> set(Stage& s, const char* object, XattrHow how, std::string_view attribute, size_t bytes) {
  const ByteVector value(bytes, std::byte{0x77});
  s.call().putfh(s.handles[object]).setxattr(how, attribute, value).getattr(attr::TYPE | attr::SIZE);
  co_await s.ask();
}

Task<> remove(Stage& s, const char* object, std::string_view attribute) {
  s.call().putfh(s.handles[object]).removexattr(attribute).getattr(attr::TYPE | attr::SIZE);
  co_await s.ask();
}

Task<> unlink(Stage& s, const char* name) {
  s.call().putfh(s.root()).remove(name);
  co_await s.ask();
}

}  // namespace

std::vector<Scenario> xattr_scenarios() {
  return {
      {.name = "set-xattr",
       .prepare = [](Stage& s) -> Task<> { return s.make_file("a", 1); },
       .act = [](Stage& s) -> Task<> { return set(s, "a", XattrHow::CREATE, "new", 100); }},
      {.name = "set-xattr-exists",
       .prepare = make_object_with_one,
       .act = [](Stage& s) -> Task<> { return set(s, "a", XattrHow::CREATE, "0", 100); }},
      {.name = "replace-xattr-cold",
       .prepare = make_object_with_many,
       .act = [](Stage& s) -> Task<> { return set(s, "a", XattrHow::REPLACE, "7", 65536); },
       .cold = true,
       .log_megabytes = 4},
      {.name = "remove-xattr",
       .prepare = make_directory_with_some,
       .act = [](Stage& s) -> Task<> { return remove(s, "d", "1"); }},
      {.name = "remove-last-xattr",
       .prepare = make_object_with_one,
       .act = [](Stage& s) -> Task<> { return remove(s, "a", "0"); },
       .cold = true},
      {.name = "remove-file-with-xattrs",
       .prepare = make_object_with_many,
       .act = [](Stage& s) -> Task<> { return unlink(s, "a"); },
       .cold = true,
       .log_megabytes = 4},
      {.name = "remove-directory-with-xattrs",
       .prepare = make_directory_with_some,
       .act = [](Stage& s) -> Task<> { return unlink(s, "d"); }},
      {.name = "remove-big-file-with-xattrs",
       .prepare = make_big_with_some,
       .act = [](Stage& s) -> Task<> { return unlink(s, "big"); }},
      {.name = "set-and-remove-xattrs",
       .prepare = make_object_with_one,
       .act = [](Stage& s) -> Task<> {
         const ByteVector value(10, std::byte{1});
         Call& c = s.call().putfh(s.handles["a"]).removexattr("0").setxattr(XattrHow::EITHER, "x", value);
         c.setxattr(XattrHow::REPLACE, "x", value).setxattr(XattrHow::CREATE, "y", value).removexattr("x");
         co_await s.ask();
       }},
  };
}

}  // namespace perdure::sim
