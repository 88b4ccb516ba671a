// Owners by name: "name@domain" (RFC 8881 §5.9), and a name service that takes its time.
#include <map>

#include "conformance/conformance.h"

namespace perdure::conformance {
namespace {

using nfs4::OwnerKind;
using A = Attribute;

class FakeNames final : public nfs4::NameService {
 public:
  explicit FakeNames(env::Env& env) : env_(env) {}
  void find_id(OwnerKind kind, const std::string& name, env::Done<std::optional<uint32_t>> done) override {
    ++asked;
    const auto it = ids.find({kind, name});
    tell<std::optional<uint32_t>>(it != ids.end() ? std::optional(it->second) : std::nullopt,
                                  std::move(done));
  }
  void find_name(OwnerKind kind, uint32_t id, env::Done<std::optional<std::string>> done) override {
    ++asked;
    std::optional<std::string> name;
    for (const auto& [key, value] : ids)
      if (key.first == kind && value == id) name = key.second;
    tell<std::optional<std::string>>(name, std::move(done));
  }
  template <class T>
  void tell(T answer, env::Done<T> done) {
    if (silent) return unanswered.push_back([answer, done = std::move(done)]() mutable { done(answer); });
    env_.after(std::chrono::milliseconds(10), [this, answer, done = std::move(done)]() mutable {
      if (broken)
        done(error(ErrorKind::io, "no"));
      else
        done(answer);
    });
  }

  std::map<std::pair<OwnerKind, std::string>, uint32_t> ids{{{OwnerKind::user, "anna"}, 1000},
                                                            {{OwnerKind::user, "bert"}, 1001},
                                                            {{OwnerKind::group, "anna"}, 2000},
                                                            {{OwnerKind::group, "staff"}, 2001}};
  int asked = 0;
  bool silent = false, broken = false;
  std::vector<env::Task> unanswered;

 private:
  env::Env& env_;
};

class OwnersByName : public Conformance {
 public:
  void SetUp() override {
    server.options.nfs.names = &names;
    server.options.nfs.owner_names = {.domain = "example.org", .shown = false};
    Conformance::SetUp();
    alice.connect();
    file = alice.create_file("f").handle;
  }
  // From the next start on.
  void show_names() {
    server.options.nfs.owner_names.shown = true;
    restart();
  }
  Ops chown(std::string_view owner, uint32_t slot = 0) {
    return alice.seq(slot).fh(file).setattr(Fattr().text(A::owner, owner));
  }
  std::string text_of(A attribute) {
    const ByteVector value = alice.attribute(file, attribute);
    wire::XdrDecoder in(value);
    return std::string(in.get_string(1024));
  }

  FakeNames names{server.env};
  Client alice{*this, "alice"};
  ByteVector file;
};

TEST_F(OwnersByName, NamesAreUnderstood) {
  alice.ok(chown("anna@example.org"));
  EXPECT_EQ(text_of(A::owner), "1000") << "numbers are shown";
  alice.ok(chown("bert@Example.ORG"));
  EXPECT_EQ(text_of(A::owner), "1001");
  alice.ok(alice.seq().fh(file).setattr(Fattr().text(A::owner_group, "anna@example.org")));
  EXPECT_EQ(text_of(A::owner_group), "2000") << "a group of the same name";
  alice.ok(chown("7"));
  EXPECT_EQ(text_of(A::owner), "7");
}

TEST_F(OwnersByName, NobodyElseIs) {
  for (const char* owner :
       {"carl@example.org", "anna@example.com", "anna", "@example.org", "anna@", "staff@example.org"})
    alice.expect(NFS4ERR_BADOWNER, chown(owner));
  const std::string with_nul("anna\0@example.org", 17);
  alice.expect(NFS4ERR_BADOWNER, chown(with_nul));
  EXPECT_EQ(text_of(A::owner), "0");
}

TEST_F(OwnersByName, AreShown) {
  alice.ok(chown("anna@example.org"));
  show_names();
  EXPECT_EQ(text_of(A::owner), "anna@example.org");
  EXPECT_EQ(text_of(A::owner_group), "0") << "a group that nobody knows";
  alice.ok(alice.seq().fh(file).verify(Fattr().text(A::owner, "anna@example.org")));
  alice.expect(NFS4ERR_NOT_SAME, alice.seq().fh(file).verify(Fattr().text(A::owner, "1000")));
}

TEST_F(OwnersByName, AreAskedForOnce) {
  alice.ok(chown("anna@example.org"));
  alice.expect(NFS4ERR_BADOWNER, chown("carl@example.org"));
  EXPECT_EQ(names.asked, 2);
  alice.ok(chown("anna@example.org"));
  alice.expect(NFS4ERR_BADOWNER, chown("carl@example.org"));
  EXPECT_EQ(names.asked, 2);
  // A user who was made a moment ago is soon known.
  names.ids[{OwnerKind::user, "carl"}] = 1002;
  pass(std::chrono::seconds(61));
  alice.ok(chown("carl@example.org"));
  alice.ok(chown("anna@example.org"));
  EXPECT_EQ(names.asked, 3);
}

TEST_F(OwnersByName, OfEntriesOfListsAndNewFiles) {
  wire::XdrEncoder acl;
  acl.put_u32(2);
  for (const auto& [flags, who] :
       {std::pair(0U, "bert@example.org"), std::pair(0x40U, "staff@example.org")}) {
    acl.put_u32(0), acl.put_u32(flags), acl.put_u32(1);
    acl.put_string(who);
  }
  alice.ok(alice.seq().fh(file).setattr(Fattr().raw(A::acl, acl.flatten())));
  OpenCall call{.name = "new", .how = How::guarded};
  call.attributes = Fattr().text(A::owner, "anna@example.org");
  alice.ok(alice.seq().root().open(call));
  show_names();
  EXPECT_EQ(alice.attribute(file, A::acl), acl.flatten());
  const ByteVector made = alice.handle({"new"});
  const ByteVector owner = alice.attribute(made, A::owner);
  wire::XdrDecoder in(owner);
  EXPECT_EQ(in.get_string(1024), "anna@example.org");
}

TEST_F(OwnersByName, WhoeverDoesNotAnswerIsNotWaitedForLong) {
  names.silent = true;
  alice.expect(NFS4ERR_DELAY, chown("anna@example.org"));
  EXPECT_EQ(names.asked, 1);
  alice.expect(NFS4ERR_DELAY, chown("anna@example.org"));
  EXPECT_EQ(names.asked, 1) << "not at once again";
  names.unanswered.front()();
  alice.ok(chown("anna@example.org"));
  show_names();
  EXPECT_EQ(text_of(A::owner), "1000") << "the number, as long as nobody says the name";
  names.silent = false, names.broken = true;
  pass(std::chrono::seconds(6));
  EXPECT_EQ(text_of(A::owner), "1000");
}

TEST_F(OwnersByName, ManyWaitForOneAnswer) {
  names.silent = true;
  const uint32_t first = server.send(chown("anna@example.org", 1).finish());
  const uint32_t second = server.send(chown("anna@example.org", 2).finish());
  server.env.run_until_idle();
  EXPECT_EQ(names.asked, 1);
  EXPECT_FALSE(server.replied(first));
  names.unanswered.front()();
  EXPECT_EQ(parse_reply(server.await(first).bytes()).status, NFS4_OK);
  EXPECT_EQ(parse_reply(server.await(second).bytes()).status, NFS4_OK);
}

TEST_F(OwnersByName, ACrashWhileTheyAreAskedForDoesNoHarm) {
  names.silent = true;
  const Ops ops = chown("anna@example.org", 1);
  const uint32_t xid = server.send(ops.finish());
  server.env.run_until_idle();
  EXPECT_FALSE(server.replied(xid));
  names.unanswered.clear();
  restart();
  names.silent = false;
  const uint32_t again = server.send(ops.finish(), 0, xid);
  EXPECT_EQ(parse_reply(server.await(again).bytes()).status, NFS4_OK);
  EXPECT_EQ(text_of(A::owner), "1000");
}

}  // namespace
}  // namespace perdure::conformance
