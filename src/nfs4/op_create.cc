// CREATE: RFC 8881 §18.4. Everything but regular files.
#include "fs/create.h"

#include "nfs4/attributes.h"
#include "nfs4/compound.h"
#include "nfs4/names.h"
#include "nfs4/operations.h"
#include "nfs4/results.h"

namespace perdure::nfs4 {

namespace {

// createtype4. False: no such type.
bool get_type(wire::XdrDecoder& in, fs::CreateRequest& request) {
  const uint32_t type = in.get_u32();
  request.type = static_cast<fs::FileType>(type);
  switch (request.type) {
    case fs::FileType::symlink:
      request.target = in.get_string(UINT16_MAX);
      return true;
    case fs::FileType::block_device:
    case fs::FileType::character_device:
      request.device_major = in.get_u32();
      request.device_minor = in.get_u32();
      return true;
    case fs::FileType::socket:
    case fs::FileType::fifo:
    case fs::FileType::directory:
      return true;
    case fs::FileType::regular:
      break;
  }
  return false;
}

}  // namespace

Outcome<Nfsstat4> op_create(Compound& c, Run& run) {
  fs::CreateRequest request;
  const bool creatable = get_type(c.args, request);
  const std::string_view name = get_name(c.args);
  const auto attributes = get_new_attributes(c);
  if (!c.args.ok()) return Nfsstat4::NFS4ERR_BADXDR;
  if (!creatable) return Nfsstat4::NFS4ERR_BADTYPE;
  if (!attributes) return attributes.error();
  // mode_set_masked has nothing to change yet (RFC 8881 §6.2.5 ¶3).
  if (attributes->set.size || attributes->given.has(Attribute::mode_set_masked))
    return Nfsstat4::NFS4ERR_INVAL;
  request.attributes = attributes->set;
  const fs::Created created =
      TRY(fs::create(c.fs(), run, c.principal(), c.registers.current.inode, name, request));
  c.set_current({created.inode});
  put_change_info(c.reply, created.directory);
  put_bitmap(c.reply, attributes->given);
  return Nfsstat4::NFS4_OK;
}

}  // namespace perdure::nfs4
