// Each operation that changes something: the power goes after its reply, or before it, the request is sent
// again, and its reply is that of the one execution.
#include "conformance/conformance.h"

namespace perdure::conformance {
namespace {

struct Prepared {
  Client::Opened file;   // "f", open
  Stateid lock;          // a lock in it
  ByteVector directory;  // "d", with "x" in it
};

Prepared prepare(Client& client) {
  client.connect();
  Prepared p;
  p.file = client.create_file("f");
  client.ok(client.seq().fh(p.file.handle).write(p.file.stateid, 0, std::string(5000, 'o')));
  client.create_file("g");
  p.lock = stateid_of(
      client.ok(client.seq().fh(p.file.handle).lock_new(write_lock, 0, 10, p.file.stateid, "locker")),
      OP_LOCK);
  p.directory = client.mkdir("d");
  client.ok(client.seq().fh(p.directory).mkdir("x"));
  client.ok(client.seq().fh(p.file.handle).setxattr(set_create, "x", "value"));
  client.ok(client.seq().root().mkdir("d2").setxattr(set_create, "x", "1").setxattr(set_create, "y", "2"));
  return p;
}

struct Case {
  const char* name;
  Ops (*build)(Ops, const Prepared&);
};

const Case cases[] = {
    {"create", [](Ops o, const Prepared&) { return o.root().mkdir("new", mode(0711)).getfh(); }},
    {"symlink", [](Ops o, const Prepared&) { return o.root().symlink("new", "t").getfh(); }},
    {"open", [](Ops o, const Prepared&) { return o.root().open({.name = "f", .owner = "another"}).getfh(); }},
    {"open_create",
     [](Ops o, const Prepared&) { return o.root().open({.name = "new", .how = How::guarded}).getfh(); }},
    {"open_exclusive",
     [](Ops o, const Prepared&) {
       return o.root().open({.name = "new", .how = How::exclusive_41, .verifier = 9}).getfh();
     }},
    {"open_again", [](Ops o, const Prepared& p) { return o.fh(p.file.handle).open({.claim = 4}); }},
    {"downgrade",
     [](Ops o, const Prepared& p) { return o.fh(p.file.handle).downgrade(p.file.stateid, 3, 0); }},
    {"close", [](Ops o, const Prepared& p) { return o.fh(p.file.handle).close(p.file.stateid); }},
    {"write", [](Ops o, const Prepared& p) { return o.fh(p.file.handle).write(p.file.stateid, 0, "data"); }},
    {"write_much",
     [](Ops o, const Prepared& p) {
       return o.fh(p.file.handle).write(p.file.stateid, 100, std::string(200000, 'x'));
     }},
    {"write_whole_blocks",
     [](Ops o, const Prepared& p) {
       return o.fh(p.file.handle)
           .write(p.file.stateid, 0, std::string(90000, 'y'), 2)
           .getattr({Attribute::change, Attribute::size});
     }},
    {"setattr",
     [](Ops o, const Prepared& p) {
       return o.fh(p.file.handle).setattr(mode(0600)).getattr({Attribute::change});
     }},
    {"truncate",
     [](Ops o, const Prepared& p) {
       return o.fh(p.file.handle).setattr(file_size(1), p.file.stateid).getattr({Attribute::change});
     }},
    {"link", [](Ops o, const Prepared& p) { return o.fh(p.file.handle).savefh().root().link("new"); }},
    {"remove", [](Ops o, const Prepared& p) { return o.fh(p.directory).remove("x"); }},
    {"remove_open", [](Ops o, const Prepared&) { return o.root().remove("f"); }},
    {"rename", [](Ops o, const Prepared& p) { return o.fh(p.directory).savefh().root().rename("x", "new"); }},
    {"rename_over", [](Ops o, const Prepared&) { return o.root().savefh().rename("g", "f"); }},
    {"lock",
     [](Ops o, const Prepared& p) {
       return o.fh(p.file.handle).lock_new(write_lock, 50, 5, p.file.stateid, "another");
     }},
    {"lock_more",
     [](Ops o, const Prepared& p) { return o.fh(p.file.handle).lock(write_lock, 50, 5, p.lock); }},
    {"unlock", [](Ops o, const Prepared& p) { return o.fh(p.file.handle).locku(write_lock, 0, 5, p.lock); }},
    {"setxattr",
     [](Ops o, const Prepared& p) {
       return o.fh(p.file.handle).setxattr(set_create, "new", "value").getattr({Attribute::change});
     }},
    {"setxattr_replace",
     [](Ops o, const Prepared& p) {
       return o.fh(p.file.handle).setxattr(set_replace, "x", std::string(60000, 'x'));
     }},
    {"removexattr",
     [](Ops o, const Prepared& p) {
       return o.fh(p.file.handle).removexattr("x").getattr({Attribute::change}).listxattrs(0, 1000);
     }},
    {"remove_with_xattrs", [](Ops o, const Prepared&) { return o.root().remove("d2"); }},
    {"several",
     [](Ops o, const Prepared& p) {
       return o.root().mkdir("one").mkdir("two").fh(p.directory).remove("x").getattr({Attribute::change});
     }},
    {"half_failed", [](Ops o, const Prepared&) { return o.root().mkdir("one").root().mkdir("one"); }},
};

bool fails(const Case& c) {
  return std::string(c.name) == "half_failed";
}

class Retransmission : public Conformance, public ::testing::WithParamInterface<Case> {};

TEST_P(Retransmission, GetsTheSameReply) {
  Client client(*this, "client");
  const Prepared prepared = prepare(client);
  const Ops ops = GetParam().build(client.seq(), prepared);
  const Reply first = client.call(ops);
  EXPECT_EQ(first.status != NFS4_OK, fails(GetParam())) << nfs4::name(first.status);
  EXPECT_EQ(client.call(ops).bytes, first.bytes);
  for (int i = 0; i < 2; ++i) {
    restart();
    EXPECT_EQ(client.call(ops).bytes, first.bytes);
  }
  client.ok(client.seq().root());
}

// A server of its own for each moment of the crash.
class Scene : public Conformance {
 public:
  Scene() { server.start(); }
  void TestBody() override {}
};

// The power goes after so many events of the server's; then the request is sent again, twice.
TEST_P(Retransmission, IsExecutedOnceWheneverThePowerGoes) {
  for (int events = 0; events < 60; events += events < 12 ? 1 : 7) {
    SCOPED_TRACE(events);
    Scene scene;
    Client client(scene, "client");
    const Prepared prepared = prepare(client);
    const ByteVector request = GetParam().build(client.seq(), prepared).finish();
    const uint32_t xid = scene.server.send(request);
    for (int i = 0; i < events && !scene.server.replied(xid); ++i) scene.server.env.run_one();
    std::optional<ByteVector> answered;
    if (scene.server.replied(xid)) answered = scene.server.await(xid).bytes();
    scene.restart();
    const std::optional<Reply> again = scene.send(request);
    ASSERT_TRUE(again.has_value());
    if (answered) {
      EXPECT_EQ(again->bytes, *answered);
    }
    EXPECT_EQ(again->status != NFS4_OK, fails(GetParam()))
        << nfs4::name(again->status) << ": its own effect must not be in its way";
    const std::optional<Reply> third = scene.send(request);
    ASSERT_TRUE(third.has_value());
    EXPECT_EQ(third->bytes, again->bytes);
    if (HasFailure()) return;
  }
}

INSTANTIATE_TEST_SUITE_P(Each, Retransmission, ::testing::ValuesIn(cases),
                         [](const auto& each) { return std::string(each.param.name); });

}  // namespace
}  // namespace perdure::conformance
