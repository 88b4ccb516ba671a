// OPEN: RFC 8881 §18.16.
#include "client/delegation.h"
#include "client/find_state.h"
#include "client/open.h"
#include "fs/access.h"
#include "fs/create.h"
#include "fs/lookup.h"

#include "nfs4/attributes.h"
#include "nfs4/compound.h"
#include "nfs4/io_access.h"
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
constexpr uint32_t signal_mask = 0x30000;  // OPEN4_SHARE_ACCESS_WANT_SIGNAL_DELEG_WHEN_*
// OPEN4_SHARE_ACCESS_WANT_DELEG_TIMESTAMPS and _OPEN_XOR_DELEGATION (RFC 9754) are wishes that are not
// granted.
constexpr uint32_t further_wants = 0x300000;
constexpr uint32_t result_confirm = 2;      // OPEN4_RESULT_CONFIRM, of NFSv4.0
constexpr uint32_t result_posix_locks = 4;  // OPEN4_RESULT_LOCKTYPE_POSIX
constexpr uint32_t result_preserve_unlinked = 8;
constexpr uint32_t result_may_notify_lock = 32;  // CB_NOTIFY_LOCK may come

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
  uint32_t seqid = 0;       // of the open-owner; of no use with sessions
  client::ClientId client;  // the session's counts, if there is one
  uint32_t share_access = 0, share_deny = 0;
  Bytes owner;
  bool create = false;
  fs::CreateRequest request;
  Bitmap given;
  Claim claim{};
  client::Stateid delegation;  // of a claim that is made under it
  std::string_view name;
};

Nfsstat4 get_create_how(Compound& c, OpenArguments& args) {
  const auto how = static_cast<CreateHow>(c.args.get_u32());
  const CreateHow last = c.registers.minor_version == 0 ? CreateHow::exclusive : CreateHow::exclusive_41;
  if (how > last) return Nfsstat4::NFS4ERR_BADXDR;
  args.request.type = fs::FileType::regular;
  args.request.mode = how == CreateHow::unchecked ? fs::CreateMode::unchecked
                      : how == CreateHow::guarded ? fs::CreateMode::guarded
                                                  : fs::CreateMode::exclusive;
  if (args.request.mode == fs::CreateMode::exclusive) args.request.verifier = c.args.get_u64();
  // RFC 8881 §6.4.3 no. 4: without attributes it is nobody's but its owner's until he sets them.
  args.request.inherits = how != CreateHow::exclusive;
  if (how == CreateHow::exclusive) return Nfsstat4::NFS4_OK;
  const auto attributes = get_new_attributes(c);
  if (!attributes) return attributes.error();
  if (attributes->given.has(Attribute::mode_set_masked)) return Nfsstat4::NFS4ERR_INVAL;
  args.given = attributes->given;
  args.request.attributes = attributes->set;
  return Nfsstat4::NFS4_OK;
}

Nfsstat4 get_arguments(Compound& c, OpenArguments& args) {
  args.seqid = c.args.get_u32();
  args.share_access = c.args.get_u32();
  args.share_deny = c.args.get_u32();
  args.client = client::ClientId(c.args.get_u64());
  args.owner = c.args.get_opaque(opaque_bytes_max);
  const uint32_t open_type = c.args.get_u32();
  if (open_type > 1) return Nfsstat4::NFS4ERR_BADXDR;
  args.create = open_type == 1;
  Nfsstat4 status = Nfsstat4::NFS4_OK;
  if (args.create) status = get_create_how(c, args);
  if (status != Nfsstat4::NFS4_OK) return status;
  args.claim = static_cast<Claim>(c.args.get_u32());
  if (c.registers.minor_version == 0 && args.claim > Claim::delegate_prev) return Nfsstat4::NFS4ERR_BADXDR;
  switch (args.claim) {
    case Claim::null:
    case Claim::delegate_prev:
      args.name = get_name(c.args);
      break;
    case Claim::previous:
      c.args.get_u32();  // the delegation that it had
      break;
    case Claim::delegate_cur:
      args.delegation = get_stateid(c.args);
      args.name = get_name(c.args);
      break;
    case Claim::delegate_cur_fh:
      args.delegation = get_stateid(c.args);
      break;
    case Claim::fh:
    case Claim::delegate_prev_fh:
      break;
    default:
      return Nfsstat4::NFS4ERR_BADXDR;
  }
  if (!c.args.ok()) return Nfsstat4::NFS4ERR_BADXDR;
  const uint32_t access = args.share_access & access_bits;
  const uint32_t wants = c.registers.minor_version == 0 ? 0 : want_mask | signal_mask | further_wants;
  const uint32_t others = args.share_access & ~(access_bits | wants);
  if (access == 0 || others != 0 || (args.share_access & want_mask) > want_cancel ||
      args.share_deny > access_bits)
    return Nfsstat4::NFS4ERR_INVAL;
  return Nfsstat4::NFS4_OK;
}

// NFSv4.0: the open-owner's turn.
Outcome<std::optional<Nfsstat4>> take_open_turn(Compound& c, Run& run, const OpenArguments& args) {
  TRY(comes_from40(c, run, args.client));
  const client::OwnerPlace place =
      TRY(client::place_open(c.clients(), run, args.client, args.owner, args.seqid));
  const std::optional<Nfsstat4> repeated = TRY(take_turn(c, run, place));
  if (!repeated) c.turn->request.owner = args.owner;
  return repeated;
}

struct Target {
  InodeId inode;
  fs::ChangeInfo directory;
  bool created = false, own = false;
};

// Finds or creates what CLAIM_NULL names, or takes the current file handle for what the other claims mean.
Outcome<Target> find_target(Compound& c, Run& run, const OpenArguments& args) {
  const InodeId current = c.registers.current.inode;
  if (args.claim != Claim::null && args.claim != Claim::delegate_cur) return Target{.inode = current};
  if (args.create) {
    if (c.read_only()) {
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

// Nobody else may be reading or writing what this open is to change, or what others are to be kept from.
Outcome<void> clear_the_way(Compound& c, Run& run, const OpenArguments& args, InodeId inode) {
  const bool truncates = args.create && args.request.attributes.size == 0;
  const bool changes = (args.share_access & client::share_write) != 0 || args.share_deny != 0 || truncates;
  return recall_others(c, run, inode, changes ? client::Use::changes : client::Use::reads);
}

// open_delegation4: no ACE says more than the mode, and there is no limit of space.
void put_delegation(wire::XdrEncoder& out, const client::Stateid& stateid, bool write) {
  constexpr uint32_t limit_size = 1, ace_allow = 0;
  out.put_u32(write ? 2 : 1);  // OPEN_DELEGATE_WRITE, _READ
  put_stateid(out, stateid);
  out.put_bool(false);  // recall
  if (write) {
    out.put_u32(limit_size);
    out.put_u64(UINT64_MAX);
  }
  out.put_u32(ace_allow);
  out.put_u32(0);
  out.put_u32(0);
  out.put_string("");
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
  const Nfsstat4 status = get_arguments(c, args);
  const bool sequenced = c.registers.minor_version == 0 && status != Nfsstat4::NFS4ERR_BADXDR;
  if (const auto repeated = sequenced ? TRY(take_open_turn(c, run, args)) : std::nullopt) return *repeated;
  if (status != Nfsstat4::NFS4_OK) return status;
  const uint32_t access = args.share_access & access_bits;
  const bool under_delegation = args.claim == Claim::delegate_cur || args.claim == Claim::delegate_cur_fh;
  if (args.claim == Claim::delegate_prev || args.claim == Claim::delegate_prev_fh)
    return Nfsstat4::NFS4ERR_NOTSUPP;  // a client that begins anew has no delegations (RFC 8881 §10.2.1)
  if (args.claim != Claim::null && args.create) return Nfsstat4::NFS4ERR_INVAL;

  const Target target = TRY(find_target(c, run, args));
  const fs::InodeRow inode = TRY(c.fs().load(run, target.inode));
  TRY(fs::check_regular(inode));
  if (c.read_only() && (access & client::share_write) != 0) return Nfsstat4::NFS4ERR_ROFS;
  if (under_delegation)
    TRY(client::find_delegation(c.clients(), run, client::ClientId(c.registers.client), target.inode,
                                args.delegation));
  if (!target.created) TRY(clear_the_way(c, run, args, target.inode));
  if (!target.own) TRY(check_open_rights(c, run, target.inode, inode, access));
  const std::string principal = principal_name(c.credential());
  const client::Stateid stateid = TRY(client::open(c.clients(), run,
                                                   {.client = client::ClientId(c.registers.client),
                                                    .owner = args.owner,
                                                    .inode = target.inode,
                                                    .access = static_cast<uint8_t>(access),
                                                    .deny = static_cast<uint8_t>(args.share_deny),
                                                    .reclaim = args.claim == Claim::previous,
                                                    .own_counts = c.registers.minor_version == 0,
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
  if (c.turn) c.turn->request.opened = target.inode;
  const uint32_t to_confirm = c.turn && !c.turn->owner.confirmed ? result_confirm : 0;
  c.set_current({target.inode});
  c.registers.current_stateid = stateid;
  put_stateid(c.reply, stateid);
  put_change_info(c.reply, target.directory);
  const bool may_be_called = TRY(c.clients().may_be_called(run, client::ClientId(c.registers.client)));
  c.reply.put_u32(result_posix_locks | (c.turn ? to_confirm : result_preserve_unlinked) |
                  (may_be_called ? result_may_notify_lock : 0));
  put_bitmap(c.reply, set);
  const bool write = (access & client::share_write) != 0;
  const uint32_t want = args.share_access & want_mask;
  std::optional<client::Stateid> delegation;
  // What has just been made is closed soon, most of the time.
  if (args.share_deny == 0 && !under_delegation && !target.created && want != want_no_delegation &&
      want != want_cancel && to_confirm == 0)
    delegation = TRY(client::delegate(c.clients(), run, client::ClientId(c.registers.client), target.inode,
                                      write, TRY(c.fs().load(run, target.inode)).change));
  if (delegation)
    put_delegation(c.reply, *delegation, write);
  else
    put_no_delegation(c.reply, args.share_access);
  return Nfsstat4::NFS4_OK;
}

}  // namespace perdure::nfs4
