// Status: how a file operation or an operation on client state ended. Closed: each protocol maps it to its
// own codes by one total switch (nfs4/status.h). A status exists only if some client would be told something
// different.
#pragma once

#include <cstdint>

namespace perdure {

enum class Status : uint8_t {
  ok,

  // File system.
  not_permitted,  // POSIX EPERM: only the owner or root may
  no_entry,
  io_error,       // the data could not be read: device failure or checksum mismatch
  access_denied,  // POSIX EACCES: the permission bits say no
  exists,
  cross_device,
  not_directory,
  is_directory,
  is_symlink,
  wrong_type,  // not of the type that the operation needs, and neither directory nor symlink
  bad_type,    // an object of this type cannot be created that way
  invalid_argument,
  too_big,        // beyond the largest file size
  no_such_range,  // SEEK from behind the end of the file
  no_space,
  quota_exceeded,
  read_only,
  too_many_links,
  name_too_long,
  bad_name,       // "." or ".." where a directory entry is named
  bad_character,  // '/' or NUL in a name
  not_empty,
  stale,       // the object was removed
  moved,       // its file system is somewhere else
  bad_handle,  // never a handle of this server
  bad_cookie,  // READDIR cookie that this server did not give
  not_supported,
  too_small,  // the caller's buffer cannot hold even one entry
  no_xattr,
  xattr_too_big,  // its value
  delay,          // try again later; nothing was done
  server_fault,

  // Client state: clients, sessions, opens, locks.
  bad_stateid,
  old_stateid,
  stale_stateid,
  bad_seqid,
  expired,
  admin_revoked,
  delegation_revoked,
  open_mode,  // READ or WRITE under an open of the wrong mode
  share_denied,
  locked,  // a mandatory conflict on READ or WRITE (special stateids against deny modes)
  lock_denied,
  deadlock,
  lock_range,
  bad_range,
  locks_held,
  file_open,
  grace,
  no_grace,
  reclaim_bad,
  reclaim_conflict,
  stale_client,
  client_in_use,
  client_busy,
  bad_session,
  bad_slot,
  seq_misordered,
  seq_false_retry,
  retry_uncached,
  conn_not_bound,
  back_chan_busy,
  complete_already,
  not_same,  // EXCHANGE_ID: the record to update has another verifier
  wrong_credential,
  encr_alg_unsupported,
  resource,  // a limit of this server
};

// The enumerator's name, for logs and tests.
const char* name(Status status);

}  // namespace perdure
