// The table of operations: what each one needs, as data, and the function that executes it.
// To add an operation: write op_NAME.cc, declare it here, and give it a line in operations.cc.
#pragma once

#include "base/outcome.h"
#include "nfs4/types.h"
#include "state/run.h"

namespace perdure::nfs4 {

class Compound;

using Execute = Outcome<Nfsstat4> (*)(Compound& compound, state::Run& run);

struct Operation {
  enum Place : uint8_t {
    in_session,  // only behind SEQUENCE
    first,       // SEQUENCE itself
    sole,        // without a session the COMPOUND's one operation (RFC 8881 §18.36.3 ¶2)
    alone,       // the COMPOUND's one operation, never behind SEQUENCE
  };

  Opnum4 number;
  Execute execute;
  Place place = in_session;
  uint8_t minor_version = 0;  // the first one that has it
  uint8_t last_minor_version = UINT8_MAX;
  bool needs_current = false;  // NFS4ERR_NOFILEHANDLE without a current file handle
  bool needs_saved = false;
  bool asks_where =
      false;            // no NFS4ERR_MOVED where the file system of the current file handle is somewhere else
  bool writes = false;  // NFS4ERR_ROFS on a read-only export
  uint16_t result_bytes_max =
      0;  // of an operation that changes something: room for its result is made sure first
  bool empty_bitmap_on_error = false;  // SETATTR: its result has a body even when it fails
  bool keeps_error = false;  // CREATE_SESSION, LOCK: what it changed before it returned an Nfsstat4 remains
};

// Null: known to the protocol, but not supported here.
const Operation* find_operation(Opnum4 number, uint32_t minor_version);
// The protocol has an operation of this number in this minor version.
bool is_legal(uint32_t number, uint32_t minor_version);

#define PERDURE_OPERATION(name) Outcome<Nfsstat4> name(Compound& c, state::Run& run)
PERDURE_OPERATION(op_access);
PERDURE_OPERATION(op_allocate);
PERDURE_OPERATION(op_backchannel_ctl);
PERDURE_OPERATION(op_bind_conn_to_session);
PERDURE_OPERATION(op_clone);
PERDURE_OPERATION(op_close);
PERDURE_OPERATION(op_commit);
PERDURE_OPERATION(op_copy);
PERDURE_OPERATION(op_create);
PERDURE_OPERATION(op_create_session);
PERDURE_OPERATION(op_deallocate);
PERDURE_OPERATION(op_delegreturn);
PERDURE_OPERATION(op_destroy_clientid);
PERDURE_OPERATION(op_destroy_session);
PERDURE_OPERATION(op_exchange_id);
PERDURE_OPERATION(op_free_stateid);
PERDURE_OPERATION(op_getattr);
PERDURE_OPERATION(op_getfh);
PERDURE_OPERATION(op_io_advise);
PERDURE_OPERATION(op_getxattr);
PERDURE_OPERATION(op_link);
PERDURE_OPERATION(op_listxattrs);
PERDURE_OPERATION(op_lock);
PERDURE_OPERATION(op_lockt);
PERDURE_OPERATION(op_locku);
PERDURE_OPERATION(op_lookup);
PERDURE_OPERATION(op_lookupp);
PERDURE_OPERATION(op_nverify);
PERDURE_OPERATION(op_offload_cancel);
PERDURE_OPERATION(op_offload_status);
PERDURE_OPERATION(op_open);
PERDURE_OPERATION(op_open_confirm);
PERDURE_OPERATION(op_open_downgrade);
PERDURE_OPERATION(op_putfh);
PERDURE_OPERATION(op_putpubfh);
PERDURE_OPERATION(op_putrootfh);
PERDURE_OPERATION(op_read);
PERDURE_OPERATION(op_read_plus);
PERDURE_OPERATION(op_readdir);
PERDURE_OPERATION(op_readlink);
PERDURE_OPERATION(op_reclaim_complete);
PERDURE_OPERATION(op_release_lockowner);
PERDURE_OPERATION(op_remove);
PERDURE_OPERATION(op_removexattr);
PERDURE_OPERATION(op_rename);
PERDURE_OPERATION(op_renew);
PERDURE_OPERATION(op_restorefh);
PERDURE_OPERATION(op_savefh);
PERDURE_OPERATION(op_secinfo);
PERDURE_OPERATION(op_secinfo_no_name);
PERDURE_OPERATION(op_seek);
PERDURE_OPERATION(op_sequence);
PERDURE_OPERATION(op_setattr);
PERDURE_OPERATION(op_setclientid);
PERDURE_OPERATION(op_setclientid_confirm);
PERDURE_OPERATION(op_setxattr);
PERDURE_OPERATION(op_test_stateid);
PERDURE_OPERATION(op_verify);
PERDURE_OPERATION(op_write);
#undef PERDURE_OPERATION

}  // namespace perdure::nfs4
