// OPEN: RFC 8881 §18.16.
#include "client/open.h"
#include "fs/access.h"
#include "fs/create.h"
#include "fs/lookup.h"

#include "nfs4/attributes.h"
#include "nfs4/compound.h"
#include "nfs4/names.h"
#include "nfs4/operations.h"
#include "nfs4/principal.h"
#include "nfs4/results.h"
#include "nfs4/service.h"

namespace perdure::nfs4 {

namespace {

constexpr uint32_t access_bits = 3;     // OPEN4_SHARE_ACCESS_READ, _WRITE
constexpr uint32_t want_mask = 0xff00;  // OPEN4_SHARE_ACCESS_WANT_*
constexpr uint32_t want_no_delegation = 0x400;
constexpr uint32_t want_cancel = 0x500;
constexpr uint32_t signal_mask = 0x30000;   // OPEN4_SHARE_ACCESS_WANT_SIGNAL_DELEG_WHEN_*
constexpr uint32_t result_posix_locks = 4;  // OPEN4_RESULT_LOCKTYPE_POSIX
constexpr uint32_t result_preserve_unlinked = 8;

enum class CreateHow : uint32_t { unchecked = 0, guarded = 1, exclusive = 2, exclusive_41 = 3 };
enum class Claim : uint32_t {
  null = 0,
  previous = 1,
  delegate_cur = 2,
  delegate_prev = 3,
  fh = 4,
  delegate_cur_fh = 5,
  delegate_prev_fh = 6,
};

struct OpenArguments {
  uint32_t share_access = 0, share_deny = 0;
  Bytes owner;
  bool create = false;
  fs::CreateRequest request;
  Bitmap given;
  Claim claim{};
  std::string_view name;
};

Nfsstat4 get_create_how(Compound& c, OpenArguments& args) {
  const auto how = static_cast<CreateHow>(c.args.get_u32());
  if (how > CreateHow::exclusive_41) return Nfsstat4::NFS4ERR_BADXDR;
  args.request.type = fs::FileType::regular;
  args.request.mode = how == CreateHow::unchecked ? fs::CreateMode::unchecked
                      : how == CreateHow::guarded ? fs::CreateMode::guarded
                                                  : fs::CreateMode::exclusive;
  if (args.request.mode == fs::CreateMode::exclusive) args.request.verifier = c.args.get_u64();
  // RFC 8881 §6.4.3 no. 4: without attributes it is nobody's but its owner's until he sets them.
  args.request.inherits = how != CreateHow::exclusive;
  if (how == CreateHow::exclusive) return Nfsstat4::NFS4_OK;
  const auto attributes = get_new_attributes(c.args, c.registers.minor_version);
  if (!attributes) return attributes.error();
  if (attributes->given.has(Attribute::mode_set_masked)) return Nfsstat4::NFS4ERR_INVAL;
  args.given = attributes->given;
  args.request.attributes = attributes->set;
  return Nfsstat4::NFS4_OK;
}

Nfsstat4 get_arguments(Compound& c, OpenArguments& args) {
  c.args.get_u32();  // seqid: of no use with sessions
  args.share_access = c.args.get_u32();
  args.share_deny = c.args.get_u32();
  c.args.get_u64();  // clientid: the session's counts
  args.owner = c.args.get_opaque(opaque_bytes_max);
  const uint32_t open_type = c.args.get_u32();
  if (open_type > 1) return Nfsstat4::NFS4ERR_BADXDR;
  args.create = open_type == 1;
  Nfsstat4 status = Nfsstat4::NFS4_OK;
  if (args.create) status = get_create_how(c, args);
  if (status != Nfsstat4::NFS4_OK) return status;
  args.claim = static_cast<Claim>(c.args.get_u32());
  switch (args.claim) {
    case Claim::null:
    case Claim::delegate_prev:
      args.name = get_name(c.args);
      break;
    case Claim::previous:
      c.args.get_u32();  // the delegation that it had
      break;
    case Claim::delegate_cur:
      get_stateid(c.args);
      args.name = get_name(c.args);
      break;
    case Claim::delegate_cur_fh:
      get_stateid(c.args);
      break;
    case Claim::fh:
    case Claim::delegate_prev_fh:
      break;
    default:
      return Nfsstat4::NFS4ERR_BADXDR;
  }
  if (!c.args.ok()) return Nfsstat4::NFS4ERR_BADXDR;
  const uint32_t access = args.share_access & access_bits;
  const uint32_t others = args.share_access & ~(access_bits | want_mask | signal_mask);
  if (access == 0 || others != 0 || (args.share_access & want_mask) > want_cancel ||
      args.share_deny > access_bits)
    return Nfsstat4::NFS4ERR_INVAL;
  return Nfsstat4::NFS4_OK;
}

struct Target {
  InodeId inode;
  fs::ChangeInfo directory;
  bool created = false, own = false;
};

// Finds or creates what CLAIM_NULL names, or takes the current file handle for what the other claims mean.
Outcome<Target> find_target(Compound& c, Run& run, const OpenArguments& args) {
  const InodeId current = c.registers.current.inode;
  if (args.claim != Claim::null) return Target{.inode = current};
  if (args.create) {
    if (c.service().options().read_only) {
      const Outcome<fs::Object> there = fs::lookup(c.fs(), run, c.principal(), current, args.name);
      if (there)
        return args.request.mode == fs::CreateMode::unchecked ? Outcome<Target>(Target{.inode = there->inode})
                                                              : Outcome<Target>(Status::exists);
      if (!there.error().is_status() || there.error().status() != Status::no_entry) return there.error();
      return Status::read_only;
    }
    const fs::Created made = TRY(fs::create(c.fs(), run, c.principal(), current, args.name, args.request));
    return Target{made.inode, made.directory, made.created, made.own};
  }
  const fs::Object found = TRY(fs::lookup(c.fs(), run, c.principal(), current, args.name));
  const fs::InodeRow directory = TRY(c.fs().load(run, current));
  return Target{.inode = found.inode, .directory = {directory.change, directory.change}};
}

// May the caller open it this way? Who may execute a file may open it to read: its pages must be read to run
// it.
Outcome<void> check_open_rights(Compound& c, Run& run, InodeId id, const fs::InodeRow& inode,
                                uint32_t access) {
  const bool reads = (access & client::share_read) != 0, writes = (access & client::share_write) != 0;
  const fs::Rights has = TRY(fs::rights(c.fs(), run, id, inode, c.principal()));
  const bool may_read = has.allow(fs::may_read) || (!writes && has.allow(fs::may_execute));
  // Where it may write, each WRITE will tell.
  const bool may_write = has.allow(fs::may_write) || has.allow(fs::may_append);
  if ((reads && !may_read) || (writes && !may_write)) return Status::access_denied;
  return {};
}

void put_no_delegation(wire::XdrEncoder& out, uint32_t share_access) {
  const uint32_t want = share_access & want_mask;
  if (want == 0) return out.put_u32(0);                   // OPEN_DELEGATE_NONE
  out.put_u32(3);                                         // OPEN_DELEGATE_NONE_EXT, and why
  if (want == want_no_delegation) return out.put_u32(0);  // WND4_NOT_WANTED
  if (want == want_cancel) return out.put_u32(8);         // WND4_CANCELLED
  out.put_u32(2);                                         // WND4_RESOURCE; no signal will follow
  out.put_bool(false);
}

}  // namespace

Outcome<Nfsstat4> op_open(Compound& c, Run& run) {
  OpenArguments args;
  if (const Nfsstat4 status = get_arguments(c, args); status != Nfsstat4::NFS4_OK) return status;
  const uint32_t access = args.share_access & access_bits;
  if (args.claim != Claim::null && args.claim != Claim::fh && args.claim != Claim::previous)
    return Nfsstat4::NFS4ERR_NOTSUPP;  // no delegation was ever given
  if (args.claim != Claim::null && args.create) return Nfsstat4::NFS4ERR_INVAL;

  const Target target = TRY(find_target(c, run, args));
  const fs::InodeRow inode = TRY(c.fs().load(run, target.inode));
  TRY(fs::check_regular(inode));
  if (c.service().options().read_only && (access & client::share_write) != 0) return Nfsstat4::NFS4ERR_ROFS;
  if (!target.own) TRY(check_open_rights(c, run, target.inode, inode, access));
  const std::string principal = principal_name(c.credential());
  const client::Stateid stateid = TRY(client::open(c.clients(), run,
                                                   {.client = client::ClientId(c.registers.client),
                                                    .owner = args.owner,
                                                    .inode = target.inode,
                                                    .access = static_cast<uint8_t>(access),
                                                    .deny = static_cast<uint8_t>(args.share_deny),
                                                    .reclaim = args.claim == Claim::previous,
                                                    .principal = principal}));
  Bitmap set;
  if (target.created) {
    set = args.given;
  } else if (args.create && args.request.mode == fs::CreateMode::unchecked &&
             args.request.attributes.size == 0) {
    // Of an existing file only a size of zero is set (RFC 8881 §18.16.3 ¶4).
    TRY(fs::set_attributes(c.fs(), run, c.principal(), target.inode, {.size = 0}));
    set.set(Attribute::size);
  }
  c.set_current({target.inode});
  c.registers.current_stateid = stateid;
  put_stateid(c.reply, stateid);
  put_change_info(c.reply, target.directory);
  c.reply.put_u32(result_posix_locks | result_preserve_unlinked);
  put_bitmap(c.reply, set);
  put_no_delegation(c.reply, args.share_access);
  return Nfsstat4::NFS4_OK;
}

}  // namespace perdure::nfs4
